/* Small files of /proc and /sys, and modules. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

int put(const char *path, const char *text) {
  int file = open(path, O_WRONLY);
  if (file < 0) return errno;
  int failed = write(file, text, strlen(text)) < 0 ? errno : 0;
  close(file);
  return failed;
}

long number_in(const char *path, long otherwise) {
  char text[32];
  int file = open(path, O_RDONLY);
  if (file < 0) return otherwise;
  ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0) return otherwise;
  text[got] = 0;
  return strtol(text, NULL, 10);
}

void load(const char *path) {
  int file = open(path, O_RDONLY);
  if (file < 0) return; /* this kernel has it built in, or not at all */
  if (syscall(SYS_finit_module, file, "", 0) && errno != EEXIST) say("note cannot load %s: errno %d", path, errno);
  close(file);
}
