/* Products of matrices, of integers and of floating-point numbers. */
#include <math.h>

#include "items.h"

#define SIZE 160
#define INT_ROUNDS 120
#define FLOAT_ROUNDS 24

static int32_t int_a[SIZE][SIZE], int_b[SIZE][SIZE], int_c[SIZE][SIZE];
static double float_a[SIZE][SIZE], float_b[SIZE][SIZE], float_c[SIZE][SIZE];

static void prepare_int(void) {
  uint32_t random = 6;
  for (int i = 0; i < SIZE; i++)
    for (int j = 0; j < SIZE; j++) {
      int_a[i][j] = next_random(&random) % 2001 - 1000;
      int_b[i][j] = next_random(&random) % 2001 - 1000;
    }
}

static uint64_t int_work(void) {
  uint64_t checksum = 0;
  for (int round = 0; round < INT_ROUNDS; round++) {
    int_a[round % SIZE][0] = round;
    for (int i = 0; i < SIZE; i++)
      for (int j = 0; j < SIZE; j++) {
        int32_t sum = 0;
        for (int k = 0; k < SIZE; k++) sum += int_a[i][k] * int_b[k][j];
        int_c[i][j] = sum;
      }
    for (int i = 0; i < SIZE; i++) checksum = mix(checksum, int_c[i][(i + round) % SIZE]);
  }
  return checksum;
}

/* Between 0 and 1, with all digits: most sums are inexact, as they are in real work. */
static double fraction(uint32_t *random) { return next_random(random) / 4294967296.0; }

static void prepare_float(void) {
  uint32_t random = 7;
  for (int i = 0; i < SIZE; i++)
    for (int j = 0; j < SIZE; j++) {
      float_a[i][j] = fraction(&random);
      float_b[i][j] = fraction(&random);
    }
}

static uint64_t float_work(void) {
  double total = 0;
  for (int round = 0; round < FLOAT_ROUNDS; round++) {
    float_a[round % SIZE][0] = 1.0 / (round + 3);
    for (int i = 0; i < SIZE; i++)
      for (int j = 0; j < SIZE; j++) {
        double sum = 0;
        for (int k = 0; k < SIZE; k++) sum += float_a[i][k] * float_b[k][j];
        float_c[i][j] = sum;
      }
    for (int i = 0; i < SIZE; i++) total += sqrt(float_c[i][(i + round) % SIZE]) / (i + 1);
  }
  /* RISC-V has a fused multiply-add, which gcc takes and plain x86-64 has not: the last digits differ. */
  return llround(total * 1e6);
}

const struct item matrix_int_item = {"matrix-int", prepare_int, int_work};
const struct item matrix_float_item = {"matrix-float", prepare_float, float_work};
