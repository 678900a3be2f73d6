/* Pages that could be mistaken for page tables, in a file in memory. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

#include "many.h"

enum { WORDS = 8192, RUNS = 16, TEXT = 12 }; /* 64 KiB a run, 16 runs of each kind in turn */
static const int EVERY_KIND[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, TEXT};
/* A quarter of fakes, none of which stands where a system's own entries do. */
static const int FEW_FAKES[] = {0, 11, 1, 2, TEXT, 3, 4, 5, 0, 11, 1, 2, TEXT, 3, 4, 6};

static uint64_t state = 0x9E3779B97F4A7C15;

static uint64_t random_word(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

/* The word at a place, of a kind. Fakes of each architecture stand in every sixteenth slot, or at the ends of pages. */
static uint64_t word(int kind, int at, uint64_t frame) {
  int ends = at % 512 == 511 || at % 512 == 0 || at % 512 == 256;
  switch (kind) {
  case 0: return random_word();
  case 1: return 0x7F0000000000 | (random_word() & 0xFFFFFFF8);
  case 2: return 0xFFFF888000000000 | (random_word() & 0x3FFFFFF8);
  case 3: return at % 37 ? 0 : random_word() & 0xFFFF;
  case 4: return at % 16 ? 0 : frame | 0x67;
  case 5: return at % 16 ? 0 : frame | 3;
  case 6: return at % 16 ? 0 : frame >> 2 | 1;
  case 7: return ends ? frame | 0x67 : 0;
  case 8: return ends ? frame | 3 : 0;
  case 9: return ends ? frame >> 2 | 1 : 0;
  case 10: return at % 64 == 3 ? frame | 1 : 0;
  default: return at * 3;
  }
}

void make_noise(long megabytes, int few_fakes, uint64_t first, uint64_t bytes) {
  static uint64_t run[WORDS];
  int file = open("/tmp/noise", O_RDWR | O_CREAT, 0600), program = open("/init", O_RDONLY);
  for (long i = 0; i < megabytes * RUNS; i++) {
    int kind = few_fakes ? FEW_FAKES[i / RUNS % (sizeof FEW_FAKES / sizeof *FEW_FAKES)]
                         : EVERY_KIND[i / RUNS % (sizeof EVERY_KIND / sizeof *EVERY_KIND)];
    for (int at = 0; at < WORDS && kind != TEXT; at++)
      run[at] = word(kind, at, (first + random_word() % bytes) & ~(uint64_t)(page - 1));
    if (kind == TEXT && pread(program, run, sizeof run, i % 8 * sizeof run) < 0) continue;
    if (write(file, run, sizeof run) < 0) return;
  }
}
