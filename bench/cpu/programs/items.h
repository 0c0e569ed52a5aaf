/*
 * The items of the CPU benchmark. Each is everyday work of a fixed amount, the same in every guest and natively, and gives a checksum of what
 * it computed. Amounts are such that one run takes one to two seconds under QEMU's translator.
 */
#ifndef ITEMS_H
#define ITEMS_H

#include <stddef.h>
#include <stdint.h>

struct item {
  const char *name;
  void (*prepare)(void); /* not measured; may be missing */
  uint64_t (*work)(void);
};

extern const struct item hash_item, compress_item, decompress_item, sort_item, regex_item;
extern const struct item matrix_int_item, matrix_float_item;
extern const struct item chase_item, copy_item;
extern const struct item syscall_item, page_fault_item, fork_item;

/* Numbers that are the same everywhere. Never 0 as a seed. */
static inline uint32_t next_random(uint32_t *state) {
  uint32_t x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *state = x;
}

/* Takes a value into a checksum: the order counts. */
static inline uint64_t mix(uint64_t checksum, uint64_t value) {
  return (checksum ^ value) * 0x9e3779b97f4a7c15u + (checksum >> 29);
}

/* Lines of words as a language has them, few often and many seldom, between them dates and addresses. No NUL at the end. */
void fill_text(char *text, size_t size, uint32_t seed);

#endif
