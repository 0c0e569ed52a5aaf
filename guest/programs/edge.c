/*
 * A witness of cuts: `edge PAGES`. It adds one to a counter in each page, in order, again and again, so that at any moment memory has one edge at
 * most: pages before it have one more than those behind. At SIGUSR1 it looks, writes "cut VALUE EDGE" or "torn at PAGE" into /tmp/edge, and goes on.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096

static volatile sig_atomic_t asked;

static void ask(int signal) {
  (void)signal;
  asked = 1;
}

int main(int argc, char **argv) {
  if (argc < 2) return 64;
  uint64_t pages = strtoull(argv[1], NULL, 10);
  volatile uint64_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const uint64_t words = PAGE / sizeof *memory;
  signal(SIGUSR1, ask);
  for (uint64_t next = 0;; next = next + 1 < pages ? next + 1 : 0) {
    memory[next * words]++;
    if (!asked) continue;
    asked = 0;
    uint64_t first = memory[0], edge = 0, torn = pages;
    while (edge < pages && memory[edge * words] == first) edge++;
    for (uint64_t page = edge; page < pages && torn == pages; page++)
      if (memory[page * words] != first - 1) torn = page;
    FILE *file = fopen("/tmp/edge.new", "w");
    if (torn < pages) fprintf(file, "torn at %" PRIu64 "\n", torn);
    else fprintf(file, "cut %" PRIu64 " %" PRIu64 "\n", first, edge);
    fclose(file);
    rename("/tmp/edge.new", "/tmp/edge");
  }
}
