/* The truth: every task that /proc lists, and every line of every process's maps. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "processes.h"

static char text[1 << 21];

static void put(const char *line, size_t size) {
  for (size_t at = 0; at < size;) {
    ssize_t done = write(1, line + at, size - at);
    if (done <= 0) return;
    at += done;
  }
}

void say(const char *format, ...) {
  static char line[4400] = "@ ";
  va_list rest;
  va_start(rest, format);
  int size = vsnprintf(line + 2, sizeof line - 3, format, rest) + 2;
  va_end(rest);
  line[size++] = '\n';
  put(line, size);
}

/* A file of /proc as text; its size, 0 if it is not there any more. */
static size_t slurp(const char *path) {
  int file = open(path, O_RDONLY);
  size_t size = 0;
  ssize_t got;
  while (file >= 0 && (got = read(file, text + size, sizeof text - 1 - size)) > 0) size += got;
  if (file >= 0) close(file);
  text[size] = 0;
  return size;
}

static int is_number(const char *name) { return *name >= '0' && *name <= '9'; }

static void say_threads(const char *word, const char *process) {
  char path[300];
  snprintf(path, sizeof path, "/proc/%s/task", process);
  DIR *folder = opendir(path);
  for (struct dirent *one; folder && (one = readdir(folder));) {
    if (!is_number(one->d_name)) continue;
    snprintf(path, sizeof path, "/proc/%.20s/task/%.20s/stat", process, one->d_name);
    if (!slurp(path)) continue;
    char *name = strchr(text, '('), *end = strrchr(text, ')');
    say("%s %s %s %c %.*s", word, process, one->d_name, end[2], (int)(end - name - 1), name + 1);
  }
  if (folder) closedir(folder);
}

void say_tasks(const char *word) {
  DIR *folder = opendir("/proc");
  for (struct dirent *one; (one = readdir(folder));)
    if (is_number(one->d_name)) say_threads(word, one->d_name);
  closedir(folder);
}

static void say_maps(const char *process) {
  char path[300];
  snprintf(path, sizeof path, "/proc/%.20s/maps", process);
  slurp(path);
  for (char *line = text, *next; *line; line = next) {
    next = strchr(line, '\n');
    *next++ = 0;
    say("map %s %s", process, line);
  }
}

/* What is in each area: kilobytes that are there, and in swap; what page tables take. */
static void say_contents(const char *process) {
  static const char *wanted[] = {"Rss:", "Swap:", "Private_Hugetlb:", "Shared_Hugetlb:"};
  char path[300];
  unsigned long start = 0, first, end, size;
  snprintf(path, sizeof path, "/proc/%.20s/smaps", process);
  slurp(path);
  for (char *line = text, *next; *line; line = next) {
    next = strchr(line, '\n');
    *next++ = 0;
    if (sscanf(line, "%lx-%lx ", &first, &end) == 2) start = first;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
      if (!strncmp(line, wanted[i], strlen(wanted[i])) && (size = strtoul(line + strlen(wanted[i]), 0, 10)))
        say("has %s %lx %s %lu", process, start, wanted[i], size);
  }
  snprintf(path, sizeof path, "/proc/%.20s/status", process);
  slurp(path);
  char *tables = strstr(text, "VmPTE:");
  if (tables) say("tables %s %lu", process, strtoul(tables + 6, 0, 10));
}

void say_areas(void) {
  memset(text, 1, sizeof text); /* what is said of this process must not change while it is said */
  DIR *folder = opendir("/proc");
  for (struct dirent *one; (one = readdir(folder));)
    if (is_number(one->d_name)) {
      say_maps(one->d_name);
      say_contents(one->d_name);
    }
  closedir(folder);
}
