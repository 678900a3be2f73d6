/* Commands through a page of memory, which whoever can write the guest's memory can give. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#define ENTRIES 256

/* obey.py knows this layout. */
struct control {
  volatile uint64_t magic, command, address, length, argument, done, result, error, signal;
  volatile uint64_t entries[ENTRIES];
};

enum { NOTHING, READ, WRITE, PAGEMAP, MADVISE, MUNMAP, MPROTECT };

static struct control *control;

void make_control(void) {
  control = (struct control *)ground(page, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  memset(control, 0, page);
  mlock(control, page);
  madvise(control, page, MADV_DONTFORK); /* or the first write would move it to another frame */
  control->magic = 0x6c61776567617063ULL;
  say("control %llx", (unsigned long long)(uintptr_t)control);
}

static uint64_t pagemap(uint64_t at, uint64_t pages) {
  uint64_t bytes = (pages < ENTRIES ? pages : ENTRIES) * 8;
  return pread(open_pagemap(), (void *)control->entries, bytes, at / page * 8);
}

static uint64_t carried_out(uint64_t at, uint64_t length, uint64_t argument) {
  switch (control->command) {
    case READ: return *(volatile uint64_t *)(uintptr_t)at;
    case WRITE: return *(volatile uint64_t *)(uintptr_t)at = argument;
    case PAGEMAP: return pagemap(at, length);
    case MADVISE: return madvise((void *)(uintptr_t)at, length, (int)argument);
    case MUNMAP: return munmap((void *)(uintptr_t)at, length);
    case MPROTECT: return mprotect((void *)(uintptr_t)at, length, (int)argument);
    default: errno = ENOSYS; return -1;
  }
}

void obey(void) {
  for (;;) {
    if (!control->command) continue;
    errno = 0;
    if (!attempt()) control->result = carried_out(control->address, control->length, control->argument);
    control->error = errno;
    control->signal = caught;
    __sync_synchronize();
    control->command = NOTHING;
    control->done++;
  }
}
