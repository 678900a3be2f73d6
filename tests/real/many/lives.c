/* What the processes do: each has page tables of its own kind. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "many.h"

static const size_t MEGABYTE = 1 << 20;

void spin(int done) {
  if (write(done, "", 1) != 1) _exit(1);
  close(done);
  for (;;) {
    for (volatile int i = 0; i < 20000; i++) {}
    sched_yield();
  }
}

static char *anonymous(size_t bytes, uint64_t hint) {
  char *at = mmap((void *)(uintptr_t)hint, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

static char *touched(size_t bytes, size_t step, uint64_t hint) {
  char *at = anonymous(bytes, hint);
  for (size_t i = 0; at && i < bytes; i += step) at[i] = 1;
  return at;
}

/* Threads share their address space: one root for both. */
static int thread(void *forever) {
  while (forever) sched_yield();
  return 0;
}

static void read_a_file(char *program) {
  int file = open(program, O_RDONLY);
  volatile char sum = 0;
  const char *at = mmap(NULL, 64 * page, PROT_READ, MAP_SHARED, file, 0);
  for (size_t i = 0; at != MAP_FAILED && i < 64 * page && i < 4 * MEGABYTE / 8; i += page) sum += at[i];
}

void live(int number, char *program, int done) {
  int wide = sizeof(long) == 8;
  char *at, name[16];
  switch (number) {
  case 1:
  case 5:
  case 9:
  case 13:
    snprintf(name, sizeof name, "%d", done);
    execl(program, program, name, (char *)0);
    break;
  case 2:
  case 6:
  case 10:
  case 14: touched((number + 1) * page, page, 0); break;
  case 3:
    at = anonymous(32 * MEGABYTE, 0);
    if (at) madvise(at, 32 * MEGABYTE, MADV_HUGEPAGE);
    for (size_t i = 0; at && i < 32 * MEGABYTE; i += page) at[i] = 1;
    break;
  case 7: read_a_file(program); break;
  case 8: touched(8 * page, page, wide ? 1ull << 50 : 1ull << 29); break; /* above 47 bits, where there is an above */
  case 11:
    for (uint64_t i = 3; i < 43; i++) touched(page, page, i << (wide ? 33 : 25)); /* far apart: many tables */
    break;
  case 12:
    at = touched(64 * page, page, 0);
    if (at) mprotect(at, 64 * page, PROT_NONE);
    break;
  case 15:
    at = anonymous(16 * page, 0);
    if (at) clone(thread, at + 16 * page, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, at);
    break;
  case 16:
    if (!fork()) touched(9 * page, page, 0); /* a grandchild: the one more that main counts */
    break;
  case 19: touched(64 * MEGABYTE, 2 * MEGABYTE, 0); break;
  default: break;
  }
  spin(done);
}
