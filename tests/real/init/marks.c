/* Protection by userfaultfd, against writes or all access: of pages that are there, and of such as are not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

/* include/uapi/linux/userfaultfd.h; the headers of a cross compiler may be older than the kernel */
#define API 0xAA
#define FEATURE_WRITE_PROTECT (1ULL << 0)
#define FEATURE_SHMEM (1ULL << 12)
#define FEATURE_ACCESS (1ULL << 17)
struct api {
  uint64_t api, features, ioctls;
};
struct registration {
  uint64_t start, length, mode, ioctls;
};
struct protection {
  uint64_t start, length, mode;
};

/* Pages are registered in one mode, and protected by one call. */
struct way {
  uint64_t mode;
  unsigned long call;
};
static const struct way WRITES = {1 << 1, _IOWR(API, 0x06, struct protection)};
static const struct way ACCESS = {1 << 3, _IOWR(API, 0x09, struct protection)};

/* Register memory and protect its pages 2 to 5. */
static int protect(char *at, size_t bytes, uint64_t features, struct way way) {
  int file = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  struct api api = {API, features, 0};
  struct registration all = {(uintptr_t)at, bytes, way.mode, 0};
  struct protection some = {(uintptr_t)at + 2 * page, 4 * page, 1};
  if (file < 0 || ioctl(file, _IOWR(API, 0x3F, struct api), &api)) return errno;
  if (ioctl(file, _IOWR(API, 0x00, struct registration), &all)) return errno;
  return ioctl(file, way.call, &some) ? errno : 0;
}

static void fill_four(char *at) {
  for (int i = 0; i < 4; i++) fill(at + i * page);
}

int protect_written(char *at, size_t bytes) {
  fill_four(at);
  return protect(at, bytes, FEATURE_WRITE_PROTECT, WRITES);
}

int protect_untouched(char *at, size_t bytes) {
  return protect(at, bytes, FEATURE_WRITE_PROTECT | FEATURE_SHMEM, WRITES);
}

int protect_access(char *at, size_t bytes) {
  fill_four(at);
  return protect(at, bytes, FEATURE_ACCESS, ACCESS);
}
