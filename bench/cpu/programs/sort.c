/* Quicksort: of numbers, with the comparison in the loop, and of records, with the comparison behind a pointer to a function. */
#include "items.h"

#define NUMBERS 200000
#define NUMBER_ROUNDS 8
#define RECORDS 60000
#define RECORD_ROUNDS 5

struct record {
  char name[12];
  uint32_t number;
};

static uint32_t numbers[NUMBERS];
static struct record records[RECORDS];
static const struct record *order[RECORDS];

static void sort_numbers(uint32_t *a, long first, long last) {
  while (first < last) {
    uint32_t pivot = a[(first + last) / 2];
    long i = first, j = last;
    while (i <= j) {
      while (a[i] < pivot) i++;
      while (a[j] > pivot) j--;
      if (i <= j) {
        uint32_t held = a[i];
        a[i++] = a[j];
        a[j--] = held;
      }
    }
    sort_numbers(a, first, j);
    first = i;
  }
}

typedef int comparison(const struct record *, const struct record *);

static int by_name(const struct record *a, const struct record *b) {
  for (int i = 0; i < 12; i++)
    if (a->name[i] != b->name[i]) return a->name[i] < b->name[i] ? -1 : 1;
  return a->number < b->number ? -1 : a->number > b->number;
}

static int by_number(const struct record *a, const struct record *b) {
  return a->number < b->number ? -1 : a->number > b->number ? 1 : by_name(a, b);
}

/* Not for inlining: it is called with either comparison. */
static __attribute__((noinline)) void sort_records(const struct record **a, long first, long last, comparison *compare) {
  while (first < last) {
    const struct record *pivot = a[(first + last) / 2];
    long i = first, j = last;
    while (i <= j) {
      while (compare(a[i], pivot) < 0) i++;
      while (compare(a[j], pivot) > 0) j--;
      if (i <= j) {
        const struct record *held = a[i];
        a[i++] = a[j];
        a[j--] = held;
      }
    }
    sort_records(a, first, j, compare);
    first = i;
  }
}

static void prepare(void) {
  uint32_t random = 3;
  for (int i = 0; i < RECORDS; i++) {
    order[i] = &records[i];
    for (int at = 0; at < 12; at++) records[i].name[at] = 'a' + next_random(&random) % 4;
    records[i].number = next_random(&random) % 10000;
  }
}

static uint64_t work(void) {
  uint64_t checksum = 0;
  uint32_t random = 4;
  for (int round = 0; round < NUMBER_ROUNDS; round++) {
    for (int i = 0; i < NUMBERS; i++) numbers[i] = next_random(&random);
    sort_numbers(numbers, 0, NUMBERS - 1);
    for (int i = 0; i < NUMBERS; i++) checksum = mix(checksum, numbers[i]);
  }
  for (int round = 0; round < RECORD_ROUNDS; round++) {
    sort_records(order, 0, RECORDS - 1, round % 2 ? by_number : by_name);
    for (int i = 0; i < RECORDS; i++) checksum = mix(checksum, order[i] - records);
  }
  return checksum;
}

const struct item sort_item = {"sort", prepare, work};
