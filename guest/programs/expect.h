/* What a witness compares: the first thing that differs is printed after the word WRONG, and ends the program with exit code 1. */
#ifndef SHOAL_EXPECT_H
#define SHOAL_EXPECT_H

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static uint64_t compared;

#define EXPECT(condition, ...)      \
  do {                              \
    compared++;                     \
    if (!(condition)) {             \
      printf("WRONG " __VA_ARGS__); \
      printf("\n");                 \
      fflush(stdout);               \
      _exit(1);                     \
    }                               \
  } while (0)

#endif
