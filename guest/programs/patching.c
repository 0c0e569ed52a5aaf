/*
 * Code that changes under itself, as a just-in-time compiler's does: `patching SEED STOP`, until there is a file of the name STOP.
 *
 * Pages of small hot functions, the same in every guest until it patches some of its own: equal pages are merged meanwhile and taken apart again.
 * Every function is a loop that adds a constant of its own, so a result tells which bytes were run. Exit code 1, and a line that begins with WRONG,
 * when a result is not what was written last.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "clocks.h"
#include "expect.h"

#define PAGE 4096
#define PAGES 24
#define FUNCTIONS_PER_PAGE 9
#define SPACING 448
#define FUNCTIONS (PAGES * FUNCTIONS_PER_PAGE)
#define LOOPS 50
/* How long a round only runs code, so that somebody may find it quiet. */
#define HOT_MS 400

static uint64_t hot_calls;

/* The same pages, where they are written and where they are run. */
struct code {
  const char *name;
  uint8_t *write, *run;
  unsigned constants[FUNCTIONS];
};

/* The last function of a page lies across its end: its second instruction is in two pages. */
static size_t offset_of(unsigned function) {
  unsigned page = function / FUNCTIONS_PER_PAGE, i = function % FUNCTIONS_PER_PAGE;
  return page * PAGE + (i == FUNCTIONS_PER_PAGE - 1 ? PAGE - 6 : 64 + i * SPACING);
}

static unsigned common_constant(unsigned function) { return 1 + (function * 37) % 1500; }

/* addi a0, a0, constant; addi a1, a1, -1; bnez a1, back to the first; ret */
static void put(struct code *code, unsigned function, unsigned constant) {
  uint32_t words[] = {constant << 20 | 0x00050513, 0xfff58593, 0xfe059ce3, 0x00008067};
  memcpy(code->write + offset_of(function), words, sizeof words);
  code->constants[function] = constant;
}

/* Only the constant: the upper half of the first instruction. */
static void patch(struct code *code, unsigned function, unsigned constant) {
  uint16_t half = constant << 4 | 5;
  memcpy(code->write + offset_of(function) + 2, &half, sizeof half);
  code->constants[function] = constant;
}

static void flush(struct code *code) { __builtin___clear_cache((char *)code->run, (char *)code->run + PAGES * PAGE); }

static void check(struct code *code, unsigned function, const char *when) {
  uint64_t (*call)(uint64_t, uint64_t) = (void *)(code->run + offset_of(function));
  uint64_t result = call(function, LOOPS), expected = function + (uint64_t)LOOPS * code->constants[function];
  EXPECT(result == expected, "%s, %s: function %u gives %" PRIu64 ", not %" PRIu64, code->name, when, function, result, expected);
}

static void check_all(struct code *code, const char *when) {
  for (unsigned function = 0; function < FUNCTIONS; function++) check(code, function, when);
}

/* Patches a third of the pages, one function after the other, each run before and after. */
static void patch_some(struct code *code, uint64_t seed, unsigned round, const char *when) {
  for (unsigned function = 0; function < FUNCTIONS; function++) {
    if ((function / FUNCTIONS_PER_PAGE + seed + round) % 3 != 0 || (function + round) % 2 != 0) continue;
    check(code, function, "before it is patched");
    patch(code, function, 1 + (seed * 131 + round * 17 + function) % 2000);
    flush(code);
    check(code, function, when);
  }
  check_all(code, when);
}

static void restore(struct code *code) {
  for (unsigned function = 0; function < FUNCTIONS; function++) put(code, function, common_constant(function));
  flush(code);
  check_all(code, "restored");
}

static void run_hot(struct code *codes[], unsigned count) {
  for (uint64_t end = ticks() + HOT_MS * (uint64_t)TICKS_PER_MS; ticks() < end; hot_calls++)
    for (unsigned i = 0; i < count; i++) check_all(codes[i], "hot");
}

/* A child's copy is its own. */
static void fork_and_patch(struct code *code, uint64_t seed, unsigned round) {
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) _exit(2);
  patch_some(code, seed + (child == 0 ? 1000 : 2000), round, child == 0 ? "in the child" : "beside the child");
  if (child == 0) _exit(0);
  int status;
  if (waitpid(child, &status, 0) < 0) _exit(2);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %x", status);
  check_all(code, "after the child");
}

#define DATA_PAGES 32

/* Reads through the one address, in the middle writes once through the other. The loop is one piece of code that is not left. */
static __attribute__((noinline)) uint64_t read_write_read(volatile uint64_t *one, volatile uint64_t *other, unsigned times, uint64_t value) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < times; i++) {
    sum += *one;
    if (i == times / 2) *other = value;
  }
  return sum;
}

static void check_data(uint64_t *one, uint64_t *other, uint64_t value) {
  enum { TIMES = 200 };
  for (unsigned page = 0; page < DATA_PAGES; page++) {
    uint64_t before = one[page * 512], *a = page & 1 ? one : other, *b = page & 1 ? other : one;
    uint64_t sum = read_write_read(a + page * 512, b + page * 512, TIMES, value);
    uint64_t expected = (TIMES / 2 + 1) * before + (TIMES / 2 - 1) * value;
    EXPECT(sum == expected, "data: page %u gives %" PRIu64 ", not %" PRIu64, page, sum, expected);
  }
}

static void *map(size_t bytes, int protection, int flags, int fd) {
  void *at = mmap(NULL, bytes, protection, flags, fd, 0);
  if (at == MAP_FAILED) _exit(2);
  return at;
}

static int shared_file(size_t bytes) {
  int fd = memfd_create("patching", 0);
  if (fd < 0 || ftruncate(fd, bytes) != 0) _exit(2);
  return fd;
}

int main(int argc, char **argv) {
  if (argc < 3) return 64;
  uint64_t seed = strtoull(argv[1], NULL, 10);
  /* One page more: the last function lies across the last page's end. */
  size_t bytes = (PAGES + 1) * PAGE;
  static struct code own = {.name = "own"}, aliased = {.name = "aliased"};
  own.write = own.run = map(bytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  int fd = shared_file(bytes);
  aliased.write = map(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  aliased.run = map(bytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd);
  fd = shared_file(DATA_PAGES * PAGE);
  uint64_t *one = map(DATA_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  uint64_t *other = map(DATA_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  struct code *codes[] = {&own, &aliased};
  for (unsigned round = 0; access(argv[2], F_OK) != 0; round++) {
    for (unsigned i = 0; i < 2; i++) restore(codes[i]);
    /* All pages of data are alike: zero at first, merged later. */
    if (round > 0)
      for (unsigned page = 0; page < DATA_PAGES; page++)
        for (unsigned word = 0; word < 512; word++) one[page * 512 + word] = round;
    run_hot(codes, 2);
    check_data(one, other, seed * 1000 + round + 1);
    for (unsigned i = 0; i < 2; i++) patch_some(codes[i], seed, round, "patched");
    check_data(one, other, seed * 2000 + round + 1);
    run_hot(codes, 2);
    fork_and_patch(&own, seed, round);
  }
  printf("patching ok %" PRIu64 " %" PRIu64 "\n", compared, hot_calls);
  return 0;
}
