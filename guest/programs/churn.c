/*
 * Writes and verifies more memory than there may be: `churn MIB SEED SECONDS`, as root. It fills its region, then for so many seconds of
 * wall time takes a page at random, compares every word with what it last wrote there, and writes it anew.
 *
 * Every page's content is its own and changes with each write. Of every second page all words are pseudo-random, which nothing can
 * compress; the others have 16 such words in a row, 32 times over. Prints "filled", and at the end
 *
 *   churn WRITES WRONG P50 P99 MAX
 *
 * with the time that one page took in ticks of 100 ns, waits of the host included. Exit code 1 when a word was wrong.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clocks.h"
#include "pattern.h"

#define REPEATED_WORDS 16
/* A histogram of times: 8 steps for each power of two. */
#define STEPS 8
#define BUCKETS (64 * STEPS)

static uint64_t histogram[BUCKETS];

static unsigned bucket_of(uint64_t value) {
  if (value < STEPS) return value;
  unsigned power = 63 - __builtin_clzll(value);
  return power * STEPS + ((value >> (power - 3)) & (STEPS - 1));
}

static uint64_t value_of(unsigned bucket) {
  if (bucket < STEPS) return bucket;
  return (uint64_t)(STEPS + bucket % STEPS) << (bucket / STEPS - 3);
}

static uint64_t percentile(uint64_t count, double share) {
  uint64_t rank = share * count, seen = 0;
  for (unsigned bucket = 0; bucket < BUCKETS; bucket++)
    if ((seen += histogram[bucket]) > rank) return value_of(bucket);
  return 0;
}

static void write_page(uint64_t *words, uint64_t seed, uint64_t page) {
  pattern_write(words, seed, page);
  if (page % 2)
    for (unsigned i = REPEATED_WORDS; i < PAGE_WORDS; i++) words[i] = words[i - REPEATED_WORDS];
}

static unsigned check_page(const uint64_t *words, uint64_t seed, uint64_t page) {
  static uint64_t expected[PAGE_WORDS];
  unsigned wrong = 0;
  write_page(expected, seed, page);
  for (unsigned i = 0; i < PAGE_WORDS; i++) wrong += words[i] != expected[i];
  return wrong;
}

int main(int argc, char **argv) {
  if (argc < 4) return 64;
  uint64_t pages = strtoull(argv[1], NULL, 10) * (1024 * 1024 / PAGE);
  uint64_t seed = strtoull(argv[2], NULL, 10) << 32;
  uint64_t duration = strtoull(argv[3], NULL, 10) * 1000;
  uint32_t *versions = calloc(pages, sizeof *versions);
  uint64_t *region = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!versions || region == MAP_FAILED) return 2;
  wall_open();
  for (uint64_t page = 0; page < pages; page++) write_page(region + page * PAGE_WORDS, seed, page);
  printf("filled\n");
  fflush(stdout);

  uint64_t writes = 0, wrong = 0, max = 0, random = seed;
  uint64_t wall = wall_ms(), end = wall + duration;
  while (wall < end) {
    random = random * PATTERN_MULTIPLIER + PATTERN_INCREMENT;
    uint64_t page = (random >> 33) % pages, before = ticks();
    uint64_t *words = region + page * PAGE_WORDS;
    wrong += check_page(words, seed + versions[page], page);
    write_page(words, seed + ++versions[page], page);
    uint64_t taken = ticks() - before, now = wall_ms();
    taken = elapsed(taken, now - wall);
    wall = now;
    if (taken > max) max = taken;
    histogram[bucket_of(taken)]++;
    writes++;
  }
  for (uint64_t page = 0; page < pages; page++) wrong += check_page(region + page * PAGE_WORDS, seed + versions[page], page);
  printf("churn %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", writes, wrong, percentile(writes, 0.5),
         percentile(writes, 0.99), max);
  return wrong != 0;
}
