/* The guest's only program: starts processes of many kinds, says the truth about all of them, and waits. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "processes.h"

size_t page;

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

static void be_quiet(void) {
  int file = open("/proc/sys/kernel/printk", O_WRONLY);
  if (file < 0) return;
  if (write(file, "1", 1) != 1) _exit(1);
  close(file);
}

/* A number on the kernel's command line, after a name with "=". */
static long option(const char *name, long otherwise) {
  static char line[4096];
  int file = open("/proc/cmdline", O_RDONLY);
  if (read(file, line, sizeof line - 1) <= 0) return otherwise;
  close(file);
  char *at = strstr(line, name);
  return at ? atol(at + strlen(name)) : otherwise;
}

int main(void) {
  page = sysconf(_SC_PAGESIZE);
  mount_all();
  use_console();
  be_quiet();
  struct utsname name;
  uname(&name);
  say("release %s", name.release);
  say("page %zx", page);
  start_all(option("areas=", 1000));
  say_tasks("task");
  say_areas();
  say_tasks("again");
  say("ready");
  for (;;) pause();
}
