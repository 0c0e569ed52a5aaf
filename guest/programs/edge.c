/*
 * A witness of cuts: `edge PAGES BATCH`. It adds one to a counter in each page, in order, again and again, so that at any moment memory has one edge at
 * most: pages before it have one more than those behind. At SIGUSR1 it looks, writes "cut VALUE EDGE" or "torn at PAGE" into /tmp/edge, and goes on. It looks
 * once before it begins, which says that it takes signals.
 *
 * Every second page also has its number, so that no other is equal to it; the others may be merged. It sleeps for a millisecond after each batch: what
 * is behind the edge is quiet for so long that it may be put away.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096
#define WORDS (PAGE / sizeof(uint64_t))

static volatile sig_atomic_t asked;

static void ask(int signal) {
  (void)signal;
  asked = 1;
}

static uint64_t number_of(uint64_t page) { return page % 2 ? page : 0; }

static void look(volatile uint64_t *memory, uint64_t pages) {
  uint64_t first = memory[0], edge = 0, torn = pages;
  while (edge < pages && memory[edge * WORDS] == first) edge++;
  for (uint64_t page = 0; page < pages && torn == pages; page++)
    if (memory[page * WORDS] != first - (page >= edge) || memory[page * WORDS + 1] != number_of(page)) torn = page;
  FILE *file = fopen("/tmp/edge.new", "w");
  if (torn < pages) fprintf(file, "torn at %" PRIu64 "\n", torn);
  else fprintf(file, "cut %" PRIu64 " %" PRIu64 "\n", first, edge);
  fclose(file);
  rename("/tmp/edge.new", "/tmp/edge");
}

int main(int argc, char **argv) {
  if (argc < 3) return 64;
  uint64_t pages = strtoull(argv[1], NULL, 10), batch = strtoull(argv[2], NULL, 10);
  volatile uint64_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const struct timespec millisecond = {.tv_nsec = 1000000};
  signal(SIGUSR1, ask);
  for (uint64_t page = 0; page < pages; page++) memory[page * WORDS + 1] = number_of(page);
  look(memory, pages);
  for (uint64_t next = 0;; next = next + 1 < pages ? next + 1 : 0) {
    memory[next * WORDS]++;
    if (next % batch == 0) nanosleep(&millisecond, NULL);
    if (!asked) continue;
    asked = 0;
    look(memory, pages);
  }
}
