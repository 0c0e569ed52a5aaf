/*
 * Content that tells where it belongs: every page of a region has its own sequence, from a seed and the page's number, so that a page
 * that is lost, stale, swapped with another one or another guest's is seen at once.
 *
 * The sequence is linear, so whoever knows seed and length knows the sum of all words without making them (test/guests/pattern.ts).
 */
#ifndef SHOAL_PATTERN_H
#define SHOAL_PATTERN_H

#include <stdint.h>
#include <stdio.h>

#define PAGE 4096
#define PAGE_WORDS (PAGE / sizeof(uint64_t))
#define PATTERN_MULTIPLIER 6364136223846793005u
#define PATTERN_INCREMENT 1442695040888963407u

/* First word of a page: splitmix64's finalizer, so that neighbours have nothing in common. */
static inline uint64_t pattern_first(uint64_t seed, uint64_t page) {
  uint64_t x = seed * 0x9e3779b97f4a7c15u + page + 1;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static inline void pattern_write(uint64_t *words, uint64_t seed, uint64_t page) {
  uint64_t x = pattern_first(seed, page);
  for (unsigned i = 0; i < PAGE_WORDS; i++, x = x * PATTERN_MULTIPLIER + PATTERN_INCREMENT) words[i] = x;
}

/* Adds the words that are there to `*sum`. Returns how many are not what was written. */
static inline unsigned pattern_check(const uint64_t *words, uint64_t seed, uint64_t page, uint64_t *sum) {
  uint64_t x = pattern_first(seed, page);
  unsigned wrong = 0;
  for (unsigned i = 0; i < PAGE_WORDS; i++, x = x * PATTERN_MULTIPLIER + PATTERN_INCREMENT) {
    uint64_t found = ((const volatile uint64_t *)words)[i];
    *sum += found;
    wrong += found != x;
  }
  return wrong;
}

static inline unsigned page_is_zero(const void *page) {
  const volatile uint64_t *words = page;
  uint64_t any = 0;
  for (unsigned i = 0; i < PAGE_WORDS; i++) any |= words[i];
  return any == 0;
}

#endif
