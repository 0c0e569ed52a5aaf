/* One item: `items NAME` prints `begin NAME`, does the work, and prints `end NAME NANOSECONDS CHECKSUM`. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "items.h"

static const struct item *const items[] = {
    &hash_item,       &compress_item,     &decompress_item, &sort_item, &regex_item,      &matrix_int_item,
    &matrix_float_item, &chase_item, &copy_item,       &syscall_item, &page_fault_item, &fork_item,
};

static uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void measure(const struct item *item) {
  if (item->prepare) item->prepare();
  /* Both lines are heard as they come: so the host knows the time between them, too. */
  printf("begin %s\n", item->name);
  fflush(stdout);
  uint64_t start = nanoseconds();
  uint64_t checksum = item->work();
  uint64_t taken = nanoseconds() - start;
  printf("end %s %" PRIu64 " %016" PRIx64 "\n", item->name, taken, checksum);
  fflush(stdout);
}

int main(int argc, char **argv) {
  for (size_t i = 0; argc == 2 && i < sizeof items / sizeof items[0]; i++) {
    if (strcmp(argv[1], items[i]->name) != 0) continue;
    measure(items[i]);
    return 0;
  }
  fprintf(stderr, "usage: items NAME\n");
  return 2;
}
