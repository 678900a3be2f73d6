/* Pages of each size that the kernel has: hugetlb, and transparent ones of several pages. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#define HUGETLB "/sys/kernel/mm/hugepages/hugepages-%zukB/nr_hugepages"
#define MULTI "/sys/kernel/mm/transparent_hugepage/hugepages-%zukB/enabled"

static const size_t sizes[] = {64, 2048, 4096, 32768, 1048576}; /* KiB */
#define SIZES (sizeof sizes / sizeof *sizes)

static int is_there(const char *format, size_t size, char path[128]) {
  snprintf(path, 128, format, size);
  return !access(path, W_OK);
}

static void touch(const char *kind, size_t size, char *at, size_t bytes) {
  if (at == MAP_FAILED) {
    say("plant %s_%zuk 0 0 %d", kind, size, errno);
    return;
  }
  if (!attempt()) {
    fill(at);
    fill(at + bytes - 3 * page);
  }
  say("plant %s_%zuk %llx %llx %d", kind, size, (unsigned long long)(uintptr_t)at,
      (unsigned long long)(uintptr_t)at + bytes, caught ? ENOMEM : 0);
}

void plant_hugetlb(void) {
  char path[128];
  for (size_t i = 0; i < SIZES; i++) {
    size_t bytes = sizes[i] << 10;
    if (!is_there(HUGETLB, sizes[i], path)) {
      say("plant hugetlb_%zuk 0 0 %d", sizes[i], ENOENT);
      continue;
    }
    if (!number_in(path, 0)) put(path, "1");
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (int)(__builtin_ctzl(bytes) << 26);
    touch("hugetlb", sizes[i], ground(bytes, bytes, PROT_READ | PROT_WRITE, flags, -1), bytes);
  }
}

void plant_multi_size(void) {
  char path[128];
  for (size_t i = 0; i < SIZES; i++) {
    size_t bytes = sizes[i] << 10;
    if (bytes >= block || !is_there(MULTI, sizes[i], path)) {
      say("plant thp_%zuk 0 0 %d", sizes[i], ENOENT);
      continue;
    }
    put(path, "always");
    char *at = ground(bytes, block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    madvise(at, bytes, MADV_HUGEPAGE);
    touch("thp", sizes[i], at, bytes);
    put(path, "never");
  }
}
