/*
 * How long each page of a new allocation takes: `stalls MIB`, as root. Prints "stalls" and the time of each first touch in ticks of
 * 100 ns, waits of the host included.
 */
#include <inttypes.h>
#include <stdio.h>

#include "clocks.h"
#include "pattern.h"

int main(int argc, char **argv) {
  if (argc < 2) return 64;
  uint64_t pages = strtoull(argv[1], NULL, 10) * (1024 * 1024 / PAGE);
  uint64_t *times = calloc(pages, sizeof *times);
  uint8_t *region = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!times || region == MAP_FAILED) return 2;
  /* Where the times go is there before the first of them. */
  for (uint64_t page = 0; page < pages; page++) times[page] = 1;
  wall_open();
  uint64_t wall = wall_ms();
  for (uint64_t page = 0; page < pages; page++) {
    uint64_t before = ticks();
    *(volatile uint64_t *)(region + page * PAGE) = page + 1;
    uint64_t taken = ticks() - before, now = wall_ms();
    times[page] = elapsed(taken, now - wall);
    wall = now;
  }
  printf("stalls");
  for (uint64_t page = 0; page < pages; page++) printf(" %" PRIu64, times[page]);
  printf("\n");
  return 0;
}
