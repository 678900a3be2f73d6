/* The guest's only program: a child whose tables are edited from outside; when it has ended, what the kernel logged. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "edited.h"

#define FRAMES 16
#define HOLES 16

size_t page;

static void mount_all(void) {
  static const char *where[][2] = {{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}};
  for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
    mkdir(where[i][1], 0755);
    mount(where[i][0], where[i][1], where[i][0], 0, "");
  }
}

static void use_console(void) {
  int console = open("/dev/console", O_RDWR);
  if (console < 0) return;
  for (int i = 0; i < 3; i++) dup2(console, i);
  if (console > 2) close(console);
}

static void put(const char *path, const char *text) {
  int file = open(path, O_WRONLY);
  if (file < 0) return;
  if (write(file, text, strlen(text)) < 0) exit(1);
  close(file);
}

/* The console is for the truth: the kernel's log is asked for. No page may move: not into a huge one, and not for room. */
static void set_up(void) {
  put("/proc/sys/kernel/printk", "1");
  put("/sys/kernel/mm/transparent_hugepage/enabled", "never");
  put("/proc/sys/vm/compact_unevictable_allowed", "0");
}

/* Memory that starts at a multiple of align, in small pages. */
static char *ground(const char *name, size_t bytes, size_t align) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  char *all = mmap(NULL, bytes + align, PROT_NONE, flags, -1, 0);
  char *at = (char *)(((uintptr_t)all + align - 1) & -align);
  munmap(all, bytes + align);
  at = mmap(at, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0);
  madvise(at, bytes, MADV_NOHUGEPAGE);
  say("plant %s %llx %llx 0", name, (unsigned long long)(uintptr_t)at, (unsigned long long)(uintptr_t)at + bytes);
  return at;
}

/* Each word of a page is its own address, mixed with a number: filled in obey.py. */
static void fill(char *at) {
  for (size_t i = 0; i < page; i += 8) *(volatile uint64_t *)(at + i) = (uintptr_t)(at + i) ^ 0x5a5a5a5a00000000ULL;
}

static void child(void) {
  size_t cpus = sysconf(_SC_NPROCESSORS_ONLN), block = page * (page / 8);
  struct utsname name;
  uname(&name);
  say("release %s", name.release);
  say("page %zx", page);
  char *controls = ground("controls", cpus * page, page);
  say("control %llx", (unsigned long long)(uintptr_t)controls);
  memset(controls, 0, cpus * page);
  char *frames = ground("frames", FRAMES * page, page);
  for (size_t i = 0; i < FRAMES; i++) fill(frames + i * page);
  make_hands(controls, cpus);
  mlockall(MCL_CURRENT);
  say_frames(controls, cpus * page);
  say_frames(frames, FRAMES * page);
  char *holes = ground("holes", HOLES * page, block);
  for (size_t i = 0; i < HOLES; i += 2) fill(holes + i * page);
  ground("empty", 2 * block, block);
  say("ready");
  obey(controls);
}

int main(void) {
  page = sysconf(_SC_PAGESIZE);
  mount_all();
  use_console();
  set_up();
  for (;;) {
    int status = -1;
    forget_log();
    pid_t started = fork();
    if (!started) child();
    while (wait(&status) != started);
    say("gone %x", status);
    say_log();
  }
}
