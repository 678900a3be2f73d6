/* The truth: lines on the console that begin with "@". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "guest.h"

#define PRESENT (1ULL << 63)
#define SOFT_DIRTY (1ULL << 55) /* of the area as well: no word on the page */
#define CHUNK 2048

static uint64_t entries[CHUNK];
static char text[1 << 17];

void say(const char *format, ...) {
  char line[512] = "@ ";
  va_list rest;
  va_start(rest, format);
  int size = vsnprintf(line + 2, sizeof line - 3, format, rest) + 2;
  va_end(rest);
  line[size++] = '\n';
  for (int at = 0; at < size;) {
    ssize_t done = write(1, line + at, size - at);
    if (done <= 0) return;
    at += done;
  }
}

int open_pagemap(void) {
  static int file = -1;
  if (file < 0) file = open("/proc/self/pagemap", O_RDONLY);
  return file;
}

/* Pages whose entries go on by one frame, or are all the same, are one line. */
struct run {
  uint64_t at, count, step, first, last;
};

static void flush(struct run *run) {
  if (run->count)
    say("pages %llx %llx %llx %llx", (unsigned long long)run->at, (unsigned long long)run->count,
        (unsigned long long)run->step, (unsigned long long)run->first);
  run->count = 0;
}

static void add(struct run *run, uint64_t at, uint64_t entry) {
  uint64_t step = entry - run->last;
  int follows = run->count && at == run->at + run->count * page && (step == 0 || (step == 1 && entry & PRESENT));
  if (follows && (run->count == 1 || step == run->step)) {
    run->step = step;
    run->last = entry;
    run->count++;
    return;
  }
  flush(run);
  *run = (struct run){at, 1, 0, entry, entry};
}

static void say_pages(uint64_t start, uint64_t end) {
  struct run run = {0};
  for (uint64_t at = start; at < end; at += CHUNK * page) {
    uint64_t pages = (end - at) / page;
    ssize_t got = pread(open_pagemap(), entries, (pages < CHUNK ? pages : CHUNK) * 8, at / page * 8);
    for (ssize_t i = 0; i < got / 8; i++)
      if (entries[i] & ~SOFT_DIRTY) add(&run, at + i * page, entries[i] & ~SOFT_DIRTY);
  }
  flush(&run);
}

/* include/uapi/linux/fs.h, Linux 6.7 */
struct scan {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof, returned;
};
struct found {
  uint64_t start, end, categories;
};
#define PAGE_IS_HUGE (1 << 6)

static struct found found[64];

static void say_huge(uint64_t start, uint64_t end) {
  struct scan scan = {sizeof scan, 0, start, end, 0, (uintptr_t)found, 64, 0, 0, PAGE_IS_HUGE, 0, PAGE_IS_HUGE};
  int got = ioctl(open_pagemap(), _IOWR('f', 16, struct scan), &scan);
  for (int i = 0; i < got; i++)
    say("huge %llx %llx", (unsigned long long)found[i].start, (unsigned long long)found[i].end);
}

/* Where the code begins and ends that an isolated kernel leaves in a program's tables. */
void say_symbols(void) {
  static const char *ends[] = {"__entry_text_start", "__entry_text_end", "__entry_tramp_text_start",
                               "__entry_tramp_text_end"};
  FILE *file = fopen("/proc/kallsyms", "r");
  char line[512], name[256], kind;
  unsigned long long address;
  while (file && fgets(line, sizeof line, file))
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
      if (strstr(line, ends[i]) && sscanf(line, "%llx %c %255s", &address, &kind, name) == 3 && !strcmp(name, ends[i]))
        say("symbol %s %llx", name, address);
  if (file) fclose(file);
}

static size_t slurp(const char *path) {
  int file = open(path, O_RDONLY);
  size_t size = 0;
  ssize_t got;
  while ((got = read(file, text + size, sizeof text - 1 - size)) > 0) size += got;
  close(file);
  text[size] = 0;
  return size;
}

/* Memory that is written from here on must be this process's own before: tables may not change once they are told. */
static void touch_all(void) {
  if (!attempt()) errno = 0;
  volatile char stack[1 << 15];
  memset(entries, 1, sizeof entries);
  memset(found, 1, sizeof found);
  memset(text, 1, sizeof text);
  for (size_t i = 0; i < sizeof stack; i += 512) stack[i] = 1;
}

static int is_wanted(const char *line) {
  static const char *wanted[] = {"KernelPageSize:", "AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
    if (!strncmp(line, wanted[i], strlen(wanted[i]))) return 1;
  return 0;
}

void say_address_space(void) {
  touch_all();
  slurp("/proc/self/smaps");
  for (char *line = text, *next; *line; line = next) {
    next = strchr(line, '\n');
    *next++ = 0;
    unsigned long long start, end;
    if (sscanf(line, "%llx-%llx ", &start, &end) != 2) {
      if (is_wanted(line)) say("smaps %s", line);
      continue;
    }
    say("area %s", line);
    if (start >> 63) continue; /* x86's vsyscall page: no table of the process has it */
    say_pages(start, end);
    say_huge(start, end);
  }
}
