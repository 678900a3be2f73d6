/* Swap in the guest's own memory, compressed: where the kernel came with the modules. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/swap.h>
#include <unistd.h>

#include "guest.h"

#define BYTES (8u << 20)

/* mkswap: version and last page at 1024 (include/linux/swap.h, union swap_header), the magic at a page's end */
static int format_swap(const char *device) {
  int file = open(device, O_RDWR);
  if (file < 0) return errno;
  char *header = calloc(1, page);
  uint32_t version_and_last[2] = {1, BYTES / page - 1};
  memcpy(header + 1024, version_and_last, sizeof version_and_last);
  memcpy(header + page - 10, "SWAPSPACE2", 10);
  int failed = pwrite(file, header, page, 0) < 0 || fsync(file) ? errno : 0;
  close(file);
  free(header);
  return failed;
}

int swap_on(void) {
  static const char *modules[] = {"/zlib_deflate.ko", "/842_compress.ko", "/842_decompress.ko", "/lz4hc_compress.ko", "/lz4_compress.ko",
                                  "/lzo_compress.ko", "/lzo-rle.ko",        "/zsmalloc.ko",       "/zram.ko"};
  char size[16];
  for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) load(modules[i]);
  snprintf(size, sizeof size, "%u", BYTES);
  int failed = put("/sys/block/zram0/disksize", size);
  if (!failed) failed = format_swap("/dev/zram0");
  return failed ? failed : swapon("/dev/zram0", 0) ? errno : 0;
}
