/*
 * Fills memory and proves that it kept every byte: `fill MIB SEED [ROUNDS [hold]]`.
 *
 * Each round writes all of the region with a pattern of its own, and only then reads it all back. With `hold` it prints "holding" after
 * the last round, waits for a line (or the end) of its input, and reads everything once more. Prints "sum ROUND HEX" for each pass;
 * exit code 1 when a word was wrong, 2 when the kernel gave no memory.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pattern.h"

static int verify(const uint64_t *region, uint64_t pages, uint64_t seed, uint64_t round) {
  uint64_t sum = 0;
  uint64_t wrong = 0;
  for (uint64_t page = 0; page < pages; page++) wrong += pattern_check(region + page * PAGE_WORDS, seed + round, page, &sum);
  printf("sum %" PRIu64 " %016" PRIx64 "\n", round, sum);
  if (wrong) printf("WRONG %" PRIu64 " words\n", wrong);
  fflush(stdout);
  return wrong != 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return 64;
  uint64_t pages = strtoull(argv[1], NULL, 10) * (1024 * 1024 / PAGE);
  uint64_t seed = strtoull(argv[2], NULL, 10);
  uint64_t rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
  int hold = argc > 4 && strcmp(argv[4], "hold") == 0;
  uint64_t *region = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) return 2;
  int bad = 0;
  for (uint64_t round = 0; round < rounds; round++) {
    for (uint64_t page = 0; page < pages; page++) pattern_write(region + page * PAGE_WORDS, seed + round, page);
    bad |= verify(region, pages, seed, round);
  }
  if (hold) {
    printf("holding\n");
    fflush(stdout);
    getchar();
    bad |= verify(region, pages, seed, rounds - 1);
  }
  munmap(region, pages * PAGE);
  return bad;
}
