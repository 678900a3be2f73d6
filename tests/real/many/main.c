/* PID 1 of a guest of many processes: some that end, noise in the page cache, and some that stay and take turns. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "many.h"

enum { SHORT_LIVES = 12 };

size_t page;

void say(const char *format, ...) {
  char line[256] = "@ ";
  va_list arguments;
  va_start(arguments, format);
  int length = 2 + vsnprintf(line + 2, sizeof line - 3, format, arguments);
  va_end(arguments);
  line[length++] = '\n';
  if (write(1, line, length) < 0) _exit(1);
}

static void set_up(void) {
  static const char *where[][2] = {{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}};
  for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
    mkdir(where[i][1], 0755);
    mount(where[i][0], where[i][1], where[i][0], 0, i == 3 ? "size=90%" : "");
  }
  int console = open("/dev/console", O_RDWR);
  for (int i = 0; i < 3 && console >= 0; i++) dup2(console, i);
  int file = open("/proc/sys/kernel/printk", O_WRONLY);
  if (file >= 0 && write(file, "1", 1) == 1) close(file);
  file = open("/proc/sys/kernel/kptr_restrict", O_WRONLY);
  if (file >= 0 && write(file, "0", 1) == 1) close(file);
}

/* Where the kernel has its own top table. */
static void say_symbols(void) {
  FILE *file = fopen("/proc/kallsyms", "r");
  char line[512], name[256], kind;
  unsigned long long address;
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "%llx %c %255s", &address, &kind, name) == 3 &&
        (!strcmp(name, "swapper_pg_dir") || !strcmp(name, "init_top_pgt")))
      say("symbol %s %llx", name, address);
  if (file) fclose(file);
}

/* Start some; they are ready when as many bytes have come, one more for the grandchild of life 16. */
static void start(pid_t *started, int count, char *program) {
  int ends[2];
  char byte;
  if (pipe(ends)) _exit(1);
  for (int i = 0; i < count; i++)
    if (!(started[i] = fork())) live(i, program, ends[1]);
  for (int i = 0; i < count + (count > 16); i++)
    if (read(ends[0], &byte, 1) != 1) _exit(1);
  close(ends[0]);
  close(ends[1]);
}

int main(int count, char **arguments) {
  page = sysconf(_SC_PAGESIZE);
  if (count > 1) spin(atoi(arguments[1]));
  set_up();
  say_symbols();
  pid_t started[LIVES];
  start(started, SHORT_LIVES, arguments[0]);
  for (int i = 0; i < SHORT_LIVES; i++) kill(started[i], SIGKILL);
  for (int i = 0; i < SHORT_LIVES; i++) waitpid(started[i], NULL, 0);
  const char *mib = getenv("noise_mib"), *first = getenv("noise_from"), *bytes = getenv("noise_bytes"); /* kernel's words */
  if (mib && first && bytes)
    make_noise(atol(mib), getenv("few_fakes") != NULL, strtoull(first, NULL, 16), strtoull(bytes, NULL, 16));
  start(started, LIVES, arguments[0]);
  say("processes %x", LIVES + 2);
  say("ready");
  spin(1);
}
