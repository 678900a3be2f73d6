/* What there is to look at: a table of things to plant, and how. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#define GUARD_INSTALL 102 /* include/uapi/asm-generic/mman-common.h, Linux 6.13 */
#define PAGEOUT 21        /* 5.4 */
#define HWPOISON 100      /* 2.6.32 */
#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED (MAP_SHARED | MAP_ANONYMOUS)
#define READ_WRITE (PROT_READ | PROT_WRITE)

struct plant {
  const char *name;
  size_t pages, blocks;
  int flags, is_file;
  int (*make)(char *at, size_t bytes);
};

/* Memory that starts at a multiple of align. */
char *ground(size_t bytes, size_t align, int protection, int flags, int file) {
  char *all = mmap(NULL, bytes + align, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
  char *at = (char *)(((uintptr_t)all + align - 1) & -align);
  munmap(all, bytes + align);
  return mmap(at, bytes, protection, flags | MAP_FIXED, file, 0);
}

/* Each word of a page is its own address, mixed with a number: fills in tests/real/obey.py. */
void fill(char *at) {
  for (size_t i = 0; i < page; i += 8) *(volatile uint64_t *)(at + i) = (uintptr_t)(at + i) ^ 0x5a5a5a5a00000000ULL;
}

static void fill_pages(char *at, size_t count, size_t step) {
  for (size_t i = 0; i < count; i += step) fill(at + i * page);
}

static int failed(int result) { return result ? errno : 0; }

static int holes(char *at, size_t bytes) {
  fill_pages(at, bytes / page, 2);
  return 0;
}

static int zero(char *at, size_t bytes) {
  (void)bytes;
  for (int i = 0; i < 4; i++) (void)*(volatile char *)(at + i * page);
  return 0;
}

static int prot_none(char *at, size_t bytes) {
  fill_pages(at, 6, 1);
  return failed(mprotect(at, bytes, PROT_NONE));
}

static int rights(char *at, size_t bytes) {
  fill_pages(at, bytes / page, 1);
  return failed(mprotect(at, 4 * page, PROT_READ) | mprotect(at + 4 * page, 4 * page, PROT_READ | PROT_EXEC));
}

static int copy_on_write(char *at, size_t bytes) {
  fill_pages(at, bytes / page, 1);
  pid_t twin = fork();
  if (!twin)
    for (;;) pause();
  fill(at + page);
  return twin < 0 ? errno : 0;
}

static int guard(char *at, size_t bytes) {
  (void)bytes;
  fill_pages(at, 12, 1);
  return failed(madvise(at + 4 * page, 4 * page, GUARD_INSTALL) | madvise(at + 14 * page, page, GUARD_INSTALL));
}

static int guard_alone(char *at, size_t bytes) {
  (void)bytes;
  return failed(madvise(at + block + 3 * page, 2 * page, GUARD_INSTALL));
}

static int guard_file(char *at, size_t bytes) {
  (void)bytes;
  (void)*(volatile char *)at;
  return failed(madvise(at + 2 * page, 2 * page, GUARD_INSTALL));
}

static int thp(char *at, size_t bytes) {
  madvise(at, bytes, MADV_HUGEPAGE);
  fill(at);
  fill(at + 3 * page);
  return 0;
}

static int thp_split(char *at, size_t bytes) {
  thp(at, bytes);
  return failed(mprotect(at + 5 * page, page, PROT_READ));
}

static int poison(char *at, size_t bytes) {
  volatile int result = 0;
  fill_pages(at, bytes / page, 1);
  if (!attempt()) result = madvise(at + page, page, HWPOISON); /* the kernel may tell by a signal as well */
  return failed(result);
}

static int shared(char *at, size_t bytes) {
  fill_pages(at, bytes / page, 3);
  return 0;
}

static int file(char *at, size_t bytes) {
  (void)bytes;
  (void)*(volatile char *)at;
  at[2 * page + 100] = 'w';
  return 0;
}

static int swapped(char *at, size_t bytes) {
  load("/qemu_fw_cfg.ko"); /* tells QEMU where VMCOREINFO is, if it has the device */
  int none = swap_on();
  fill_pages(at, bytes / page, 1);
  return none ? none : failed(madvise(at + 2 * page, 4 * page, PAGEOUT));
}

static const struct plant plants[] = {
    {"holes", 16, 0, ANONYMOUS, 0, holes},
    {"zero", 8, 0, ANONYMOUS, 0, zero},
    {"prot_none", 8, 0, ANONYMOUS, 0, prot_none},
    {"rights", 8, 0, ANONYMOUS, 0, rights},
    {"copy_on_write", 4, 0, ANONYMOUS, 0, copy_on_write},
    {"guard", 16, 0, ANONYMOUS, 0, guard},
    {"guard_alone", 0, 4, ANONYMOUS | MAP_NORESERVE, 0, guard_alone},
    {"guard_file", 8, 0, MAP_SHARED, 1, guard_file},
    {"uffd_wp", 8, 0, ANONYMOUS, 0, protect_written},
    {"uffd_marker", 8, 0, SHARED, 0, protect_untouched},
    {"uffd_rwp", 8, 0, ANONYMOUS, 0, protect_access},
    {"thp", 0, 1, ANONYMOUS, 0, thp},
    {"thp_split", 0, 1, ANONYMOUS, 0, thp_split},
    {"hwpoison", 4, 0, ANONYMOUS, 0, poison},
    {"shmem", 8, 0, SHARED, 0, shared},
    {"file_shared", 8, 0, MAP_SHARED, 1, file},
    {"file_private", 8, 0, MAP_PRIVATE, 1, file},
    {"swap", 8, 0, ANONYMOUS, 0, swapped},
};

static void say_plant(const char *name, char *at, size_t bytes, int error) {
  say("plant %s %llx %llx %d", name, (unsigned long long)(uintptr_t)at, (unsigned long long)(uintptr_t)at + bytes, error);
}

static int eight_pages(const char *name) {
  int file = open(name, O_RDWR | O_CREAT, 0600);
  ftruncate(file, 8 * page);
  for (int i = 0; i < 8; i++) pwrite(file, &i, sizeof i, i * page);
  return file;
}

static void plant(const struct plant *plant) {
  size_t bytes = plant->pages * page + plant->blocks * block;
  int file = plant->is_file ? eight_pages(plant->name) : -1;
  char *at = ground(bytes, block, READ_WRITE, plant->flags, file);
  madvise(at, bytes, MADV_NOHUGEPAGE);
  say_plant(plant->name, at, bytes, plant->make(at, bytes));
}

/* An address that only five levels, or 52 bits, reach. */
static void plant_high(void) {
  char *at = mmap((void *)(uintptr_t)(1ULL << 50), 4 * page, READ_WRITE, ANONYMOUS, -1, 0);
  fill_pages(at, 4, 2);
  say_plant("high", at, 4 * page, (uint64_t)(uintptr_t)at >> 48 ? 0 : ENOMEM);
}

void plant_all(void) {
  for (size_t i = 0; i < sizeof plants / sizeof *plants; i++) plant(&plants[i]);
  plant_hugetlb();
  plant_multi_size();
  plant_high();
}
