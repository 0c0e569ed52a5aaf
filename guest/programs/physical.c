/*
 * Where in physical memory pages are, and that they hold what is written there: `physical MIB SEED`, as root.
 *
 * Prints "ram END" (first byte after the last RAM, from /proc/iomem), "pages N low ADDRESS high ADDRESS above4g N" and "sum HEX", all in
 * hexadecimal but the counts. Exit code 1 when a word was wrong, 2 when something could not be had.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pattern.h"

static uint64_t end_of_ram(void) {
  uint64_t start, last, end = 0;
  char line[256];
  FILE *map = fopen("/proc/iomem", "r");
  if (!map) return 0;
  while (fgets(line, sizeof line, map)) {
    if (strstr(line, "System RAM") && sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &last) == 2 && last + 1 > end) end = last + 1;
  }
  fclose(map);
  return end;
}

int main(int argc, char **argv) {
  if (argc < 3) return 64;
  uint64_t pages = strtoull(argv[1], NULL, 10) * (1024 * 1024 / PAGE);
  uint64_t seed = strtoull(argv[2], NULL, 10);
  uint64_t *region = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int pagemap = open("/proc/self/pagemap", O_RDONLY);
  if (region == MAP_FAILED || pagemap < 0 || mlock(region, pages * PAGE) != 0) return 2;
  for (uint64_t page = 0; page < pages; page++) pattern_write(region + page * PAGE_WORDS, seed, page);

  uint64_t low = UINT64_MAX, high = 0, above = 0;
  for (uint64_t page = 0; page < pages; page++) {
    uint64_t entry;
    /* Bits 0 to 54 are the frame number, bit 63 says that there is one (Documentation/admin-guide/mm/pagemap.rst). */
    if (pread(pagemap, &entry, 8, ((uintptr_t)region / PAGE + page) * 8) != 8 || !(entry >> 63)) return 2;
    uint64_t address = (entry & ((1ul << 55) - 1)) * PAGE;
    if (address < low) low = address;
    if (address > high) high = address;
    above += address >= 1ul << 32;
  }
  uint64_t sum = 0, wrong = 0;
  for (uint64_t page = 0; page < pages; page++) wrong += pattern_check(region + page * PAGE_WORDS, seed, page, &sum);
  printf("ram %" PRIx64 "\npages %" PRIu64 " low %" PRIx64 " high %" PRIx64 " above4g %" PRIu64 "\n", end_of_ram(), pages, low, high, above);
  printf("sum %016" PRIx64 "\n", sum);
  if (wrong) printf("WRONG %" PRIu64 " words\n", wrong);
  return wrong != 0;
}
