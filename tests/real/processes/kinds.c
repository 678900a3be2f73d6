/* The processes: each is what a reader of process lists stumbles over. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "processes.h"

#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define NAME_AREA 0x53564d41 /* PR_SET_VMA, Linux 5.17 */
#define LONG "directory-with-a-name-longer-than-the-inline-name-of-a-dentry"

static int ready[2];
static long areas;

static void stay(void) __attribute__((noreturn));
static void stay(void) {
  if (write(ready[1], "", 1) != 1) _exit(1);
  for (;;) pause();
}

static void mark(void) {
  int flags = PRIVATE | MAP_FIXED;
  if (mmap(MARK, page, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) _exit(1);
  *(volatile uint64_t *)MARK = getpid();
}

static void *thread(void *number) {
  char name[16];
  snprintf(name, sizeof name, "thread %ld", (long)number);
  prctl(PR_SET_NAME, name);
  while (pause()) continue;
  return NULL;
}

static void threads(long many) {
  for (long i = 0; i < many; i++) {
    pthread_t started;
    pthread_create(&started, NULL, thread, (void *)i);
  }
}

static void several_threads(void) {
  threads(5);
  sleep(1);
  stay();
}

/* The first thread has ended, the others go on: a zombie leads them. */
static void without_leader(void) {
  threads(2);
  sleep(1);
  if (write(ready[1], "", 1) != 1) _exit(1);
  syscall(SYS_exit, 0);
}

static void many_areas(void) {
  char *at = mmap(NULL, 2 * areas * page, PROT_READ, PRIVATE | MAP_NORESERVE, -1, 0);
  for (long i = 0; i < areas; i++)
    mprotect(at + (2 * i + 1) * page, page, i % 3 ? PROT_READ | PROT_WRITE : PROT_NONE);
  stay();
}

static void map_file(const char *path, int flags) {
  int file = open(path, O_RDWR | O_CREAT, 0600);
  if (ftruncate(file, 8 * page)) return;
  char *at = mmap(NULL, 8 * page, PROT_READ | PROT_WRITE, flags, file, 0);
  if (at != MAP_FAILED) *(volatile char *)at = 1;
  mmap(NULL, 2 * page, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 4 * page);
  close(file);
}

static void make_folders(void) {
  mkdir("/tmp/a", 0755);
  mkdir("/tmp/a/" LONG, 0755);
  mkdir("/mnt", 0755);
  mount("tmpfs", "/mnt", "tmpfs", 0, "");
  mkdir("/mnt/in", 0755);
  mount("tmpfs", "/mnt/in", "tmpfs", 0, "");
  mkdir("/bound", 0755);
  mount("/tmp/a", "/bound", NULL, MS_BIND, NULL);
}

static void files(void) {
  make_folders();
  map_file("/on the root", MAP_PRIVATE);
  map_file("/tmp/a/file", MAP_SHARED);
  map_file("/tmp/a/" LONG "/and-a-file-name-that-is-longer-than-forty-characters.so", MAP_PRIVATE);
  map_file("/mnt/in/nested mount", MAP_SHARED);
  map_file("/bound/through a bind mount", MAP_SHARED);
  map_file("/tmp/new\nline", MAP_PRIVATE);
  map_file("/tmp/not \xff utf-8 \xc3\xbc", MAP_PRIVATE);
  map_file("/tmp/gone", MAP_SHARED);
  unlink("/tmp/gone");
  map_file("/tmp/gone", MAP_SHARED); /* another file of the same name */
  stay();
}

static void odd_areas(void) {
  int file = syscall(SYS_memfd_create, "a memfd", 0);
  if (ftruncate(file, 4 * page)) _exit(1);
  mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  mmap((void *)(1ULL << 50), 4 * page, PROT_READ | PROT_WRITE, PRIVATE, -1, 0); /* above 48 bits, where there is room */
  char *named = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, PRIVATE, -1, 0);
  prctl(NAME_AREA, 0, named, 4 * page, "a named area");
  char *shared = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  prctl(NAME_AREA, 0, shared, 4 * page, "a named shared area");
  mlock(named, page);
  mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, PRIVATE | MAP_GROWSDOWN, -1, 0);
  if (sbrk(3 * page) == (void *)-1) _exit(1);
  stay();
}

static void brief(void) { _exit(write(ready[1], "", 1) != 1); } /* nobody waits for it */

static void with_vforked(void) {
  if (vfork()) stay();
  prctl(PR_SET_NAME, "vforked");
  stay();
}

static void busy(void) {
  if (write(ready[1], "", 1) != 1) _exit(1);
  for (;;) continue;
}

static const struct {
  const char *name;
  void (*be)(void);
} kinds[] = {
    {"threads", several_threads}, {"no leader", without_leader}, {"many areas )(", many_areas}, {"files", files},
    {"odd areas", odd_areas},     {"zombie", brief},             {"vforker", with_vforked},     {"busy", busy},
};

void start_all(long many) {
  areas = many;
  mark();
  if (pipe(ready)) _exit(1);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (fork()) continue;
    mark();
    prctl(PR_SET_NAME, kinds[i].name);
    kinds[i].be();
  }
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    char byte;
    if (read(ready[0], &byte, 1) != 1) _exit(1);
  }
  sleep(1); /* those that say that they are ready and then end */
}
