/* Lines on the console that begin with "@": the truth, and what the kernel has logged. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/klog.h>
#include <unistd.h>

#include "edited.h"

enum { READ_ALL = 3, CLEAR = 5 }; /* syslog(2) */

void say(const char *format, ...) {
  char line[512] = "@ ";
  va_list rest;
  va_start(rest, format);
  int size = vsnprintf(line + 2, sizeof line - 3, format, rest) + 2;
  va_end(rest);
  if (size > (int)sizeof line - 2) size = sizeof line - 2;
  line[size++] = '\n';
  for (int at = 0; at < size;) {
    ssize_t done = write(1, line + at, size - at);
    if (done <= 0) return;
    at += done;
  }
}

/* Pages' entries in pagemap, as truth.py takes them. */
void say_frames(const char *at, size_t bytes) {
  int file = open("/proc/self/pagemap", O_RDONLY);
  for (size_t i = 0; i < bytes / page; i++) {
    uint64_t entry = 0, vaddr = (uintptr_t)at + i * page;
    if (pread(file, &entry, sizeof entry, vaddr / page * 8) != sizeof entry) say("unreadable %llx", (long long)vaddr);
    say("pages %llx 1 0 %llx", (unsigned long long)vaddr, (unsigned long long)entry);
  }
  close(file);
}

void forget_log(void) { klogctl(CLEAR, NULL, 0); }

/* What the kernel has logged since. */
void say_log(void) {
  static char text[1 << 18];
  int size = klogctl(READ_ALL, text, sizeof text - 1);
  text[size > 0 ? size : 0] = 0;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) say("log %s", line);
  say("logged");
}
