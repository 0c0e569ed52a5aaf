/* Memory: what waits for each load before the next, and what moves much of it. */
#include <string.h>

#include "items.h"

/* --- a chain of pointers through 4 MiB in random order --- */

#define NODES (1 << 16)
#define STEPS 24000000

struct node {
  struct node *next;
  uint64_t value, unused[6];
};

static struct node nodes[NODES];

static void prepare_chase(void) {
  static uint32_t order[NODES];
  uint32_t random = 8;
  for (uint32_t i = 0; i < NODES; i++) order[i] = i;
  /* One cycle through all of them (Sattolo). */
  for (uint32_t i = NODES - 1; i > 0; i--) {
    uint32_t j = next_random(&random) % i, held = order[i];
    order[i] = order[j];
    order[j] = held;
  }
  for (uint32_t i = 0; i < NODES; i++) {
    nodes[order[i]].next = &nodes[order[(i + 1) % NODES]];
    nodes[order[i]].value = next_random(&random);
  }
}

static uint64_t chase(void) {
  uint64_t sum = 0;
  const struct node *node = nodes;
  for (int step = 0; step < STEPS; step++) {
    sum = sum * 3 + node->value;
    node = node->next;
  }
  return mix(sum, node - nodes);
}

/* --- memcpy, of blocks larger than any cache, and of such sizes as programs mostly copy --- */

#define AREA (8u << 20)
#define LARGE (1u << 20)
#define LARGE_COPIES 400
#define SMALL_COPIES 1500000

static uint8_t source[AREA], target[AREA];

static void prepare_copy(void) {
  uint32_t random = 9;
  for (size_t i = 0; i < AREA; i += 4) {
    uint32_t word = next_random(&random);
    memcpy(source + i, &word, 4);
  }
}

static uint64_t copy(void) {
  uint64_t checksum = 0;
  uint32_t random = 10;
  for (int i = 0; i < LARGE_COPIES; i++) {
    memcpy(target + i % 8 * LARGE, source + next_random(&random) % 8 * LARGE, LARGE);
    checksum = mix(checksum, target[next_random(&random) % AREA]);
  }
  for (int i = 0; i < SMALL_COPIES; i++) {
    uint32_t where = next_random(&random);
    memcpy(target + (where >> 8) % (AREA - 256), source + where % (AREA - 256), 1 + where % 128);
  }
  for (size_t i = 0; i < AREA; i += 8) {
    uint64_t word;
    memcpy(&word, target + i, 8);
    checksum = mix(checksum, word);
  }
  return checksum;
}

const struct item chase_item = {"chase", prepare_chase, chase};
const struct item copy_item = {"copy", prepare_copy, copy};
