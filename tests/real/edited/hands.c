/* Threads, one a CPU, that obey: each has a page of commands, which whoever can write the guest's memory gives. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "edited.h"

/* obey.py knows this layout. */
struct control {
  volatile uint64_t magic, command, address, length, argument, done, result, error, signal, watched;
};

#define MAGIC 0x6c61776567617063ULL

enum { NOTHING, READ, WRITE, PAGEMAP, MADVISE, MUNMAP, MPROTECT, FAULTS, WATCH, PASS, END };

static __thread sigjmp_buf landing;
static __thread volatile int caught;
static char *first;

/* No call of the kernel: it would have the CPU forget what it knows of the page that is watched. */
#define attempt() (caught = 0, sigsetjmp(landing, 0))

static void land(int number) {
  caught = number;
  siglongjmp(landing, 1);
}

static uint64_t faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

static uint64_t carried_out(struct control *control) {
  void *at = (void *)(uintptr_t)control->address;
  switch (control->command) {
    case READ: return *(volatile uint64_t *)at;
    case WRITE: return *(volatile uint64_t *)at = control->argument;
    case MADVISE: return madvise(at, control->length, (int)control->argument);
    case MUNMAP: return munmap(at, control->length);
    case MPROTECT: return mprotect(at, control->length, (int)control->argument);
    case FAULTS: return faults();
    case WATCH: return control->watched = control->address;
    case PASS: return access(at, F_OK); /* the kernel reads a file's name there */
    case END: exit(0);
    default: errno = ENOSYS; return -1;
  }
}

static void touch_watched(struct control *control) {
  if (!control->watched) return;
  if (!attempt())
    (void)*(volatile uint64_t *)(uintptr_t)control->watched;
  else
    control->watched = 0;
}

static void do_command(struct control *control) {
  errno = 0;
  if (!attempt()) control->result = carried_out(control);
  control->error = errno;
  control->signal = caught;
  touch_watched(control);
  __sync_synchronize();
  control->command = NOTHING;
  control->done++;
}

static void *hand(void *at) {
  struct control *control = at;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(((char *)at - first) / page, &cpus);
  sched_setaffinity(0, sizeof cpus, &cpus);
  control->magic = MAGIC;
  for (;;) {
    if (control->command)
      do_command(control);
    else
      touch_watched(control);
  }
  return NULL;
}

/* All but the first, which is the thread that calls. */
void make_hands(char *controls, size_t count) {
  struct sigaction action = {.sa_handler = land, .sa_flags = SA_NODEFER};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  first = controls;
  ((struct control *)first)->magic = MAGIC; /* who reads "ready" may look at once */
  for (size_t i = 1; i < count; i++) {
    pthread_t one;
    if (pthread_create(&one, NULL, hand, controls + i * page)) exit(1);
    while (!((struct control *)(controls + i * page))->magic) sched_yield();
  }
}

void obey(char *controls) {
  hand(controls);
  abort();
}
