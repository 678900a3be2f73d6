/* The guest's only program: mounts what it needs, and has a child plant things, say the truth about them, and obey. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

size_t page, block;
sigjmp_buf landing;
volatile int caught;

static void land(int number) {
  caught = number;
  siglongjmp(landing, 1);
}

void catch_signals(void) {
  struct sigaction action = {.sa_handler = land, .sa_flags = SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
}

static void mount_all(void) {
  static const char *where[][2] = {{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}};
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

/* Huge pages also where the kernel thinks that it has too little memory for them (mm/huge_memory.c, hugepage_init: less
 * than 512 MiB); and nothing may change the tables once the truth is said. */
static void set_up(void) {
  put("/sys/kernel/mm/transparent_hugepage/enabled", "always");
  put("/proc/sys/kernel/printk", "1");
  put("/sys/kernel/mm/transparent_hugepage/khugepaged/defrag", "0");
  put("/sys/kernel/mm/ksm/run", "0");
  put("/proc/sys/vm/unprivileged_userfaultfd", "1");
}

static void child(void) {
  struct utsname name;
  uname(&name);
  page = sysconf(_SC_PAGESIZE);
  block = number_in("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", page * (page / 8));
  say("release %s", name.release);
  say("page %zx", page);
  say("block %zx", block);
  catch_signals();
  say_symbols();
  make_control();
  plant_all();
  say_address_space();
  say("ready");
  obey();
}

int main(void) {
  mount_all();
  use_console();
  set_up();
  pid_t started = fork();
  if (!started) child();
  for (;;) {
    int status;
    pid_t ended = wait(&status);
    if (ended != started && ended >= 0) continue;
    say("ended %x", status);
    reboot(RB_POWER_OFF);
  }
}
