/*
 * A program that takes memory in steps and watches its own pauses: `tenant MIB SEED`. It does what the lines of its input say, and prints
 * one line for each, which begins with the command:
 *
 *   fill FROM TO    writes these pages of its region with its pattern
 *   punch           gives every second page of the region back to the kernel
 *   watch MS        for so long, reads and writes the pages it has, one after the other, and looks at the clock each time. Prints for
 *                   each window of 10 ms the longest time between two looks, in ticks of 100 ns
 *   verify          compares everything it has; prints the pages and how many words were wrong
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clocks.h"
#include "pattern.h"

#define WINDOW_TICKS (10 * TICKS_PER_MS)

static uint64_t *region, seed, pages;
/* 1 for the pages that it has. */
static uint8_t *has;

static void fill(uint64_t from, uint64_t to) {
  for (uint64_t page = from; page < to && page < pages; page++) {
    pattern_write(region + page * PAGE_WORDS, seed, page);
    has[page] = 1;
  }
  printf("fill\n");
}

static void punch(void) {
  for (uint64_t page = 1; page < pages; page += 2) {
    madvise(region + page * PAGE_WORDS, PAGE, MADV_DONTNEED);
    has[page] = 0;
  }
  printf("punch\n");
}

static void watch(uint64_t ms) {
  printf("watch");
  uint64_t page = 0, last = ticks(), end = last + ms * TICKS_PER_MS, window_end = last + WINDOW_TICKS, worst = 0;
  for (uint64_t turn = 0; last < end; turn++) {
    do page = page + 1 < pages ? page + 1 : 0;
    while (!has[page]);
    volatile uint64_t *first = region + page * PAGE_WORDS;
    uint64_t value = *first;
    if (turn % 16 == 0) *first = value;
    uint64_t now = ticks();
    if (now - last > worst) worst = now - last;
    if (now >= window_end) {
      printf(" %" PRIu64, worst);
      worst = 0;
      /* What printing takes is not a pause. */
      now = ticks();
      window_end = now + WINDOW_TICKS;
    }
    last = now;
  }
  printf("\n");
}

static void verify(void) {
  uint64_t count = 0, wrong = 0, sum = 0;
  for (uint64_t page = 0; page < pages; page++) {
    if (!has[page]) continue;
    wrong += pattern_check(region + page * PAGE_WORDS, seed, page, &sum);
    count++;
  }
  printf("verify %" PRIu64 " %" PRIu64 "\n", count, wrong);
}

int main(int argc, char **argv) {
  static char output[1 << 16];
  char line[128];
  if (argc < 3) return 64;
  pages = strtoull(argv[1], NULL, 10) * (1024 * 1024 / PAGE);
  seed = strtoull(argv[2], NULL, 10);
  has = calloc(pages, 1);
  region = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!has || region == MAP_FAILED) return 2;
  setvbuf(stdout, output, _IOFBF, sizeof output);
  while (fgets(line, sizeof line, stdin)) {
    uint64_t from = 0, to = 0;
    char command[16] = "";
    sscanf(line, "%15s %" SCNu64 " %" SCNu64, command, &from, &to);
    if (strcmp(command, "fill") == 0) fill(from, to);
    else if (strcmp(command, "punch") == 0) punch();
    else if (strcmp(command, "watch") == 0) watch(from);
    else if (strcmp(command, "verify") == 0) verify();
    fflush(stdout);
  }
  return 0;
}
