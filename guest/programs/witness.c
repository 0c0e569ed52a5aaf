/*
 * A guest's view of its memory, as witness: `witness SEED ROUNDS` does what programs do with pages, and compares every byte.
 *
 * Each test prints its name and the number of things it compared. Exit code 1, and a line that begins with WRONG, when one differed.
 * The accesses that matter are single instructions in assembly, because the compiler would split misaligned ones.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"
#include "pattern.h"

static uint64_t random_state;

static uint64_t random_below(uint64_t limit) {
  random_state = random_state * PATTERN_MULTIPLIER + PATTERN_INCREMENT;
  return (random_state >> 33) % limit;
}

static void *map(uint64_t pages, int flags, int fd) {
  void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (at == MAP_FAILED) _exit(2);
  return at;
}

#define ALIAS_PAGES 192

/* One page under two addresses: read through the one, write through the other, read through the one again. */
static void aliases(uint64_t seed) {
  int file = memfd_create("aliases", 0);
  if (file < 0 || ftruncate(file, ALIAS_PAGES * PAGE) != 0) _exit(2);
  uint64_t *a = map(ALIAS_PAGES, MAP_SHARED, file);
  uint64_t *b = map(ALIAS_PAGES, MAP_SHARED, file);
  for (uint64_t page = 0; page < ALIAS_PAGES; page++) {
    volatile uint64_t *first = a + page * PAGE_WORDS, *second = b + page * PAGE_WORDS;
    EXPECT(first[7] == 0 && second[9] == 0, "a new page is not zero");
    second[7] = seed + page;
    EXPECT(first[7] == seed + page, "alias: page %" PRIu64 " shows %" PRIx64, page, first[7]);
    first[8] = ~seed;
    EXPECT(second[8] == ~seed && second[7] == seed + page, "alias: page %" PRIu64 " the other way", page);
  }
  for (uint64_t page = 0; page < ALIAS_PAGES; page++) pattern_write(a + page * PAGE_WORDS, seed, page);
  for (unsigned i = 0; i < 4000; i++) {
    uint64_t at = random_below(ALIAS_PAGES * PAGE_WORDS), value = random_state;
    volatile uint64_t *to = i & 1 ? a : b, *from = i & 1 ? b : a;
    to[at] = value;
    EXPECT(from[at] == value, "alias: word %" PRIu64, at);
  }
  /* A hole is a new page for both. */
  for (uint64_t page = 0; page < ALIAS_PAGES; page += 3) {
    if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * PAGE, PAGE) != 0) _exit(2);
    EXPECT(page_is_zero(a + page * PAGE_WORDS) && page_is_zero(b + page * PAGE_WORDS), "alias: a hole is not zero");
    b[page * PAGE_WORDS] = page;
    EXPECT(((volatile uint64_t *)a)[page * PAGE_WORDS] == page, "alias: in a hole");
  }
  munmap(a, ALIAS_PAGES * PAGE);
  munmap(b, ALIAS_PAGES * PAGE);
  close(file);
}

#define FORK_PAGES 384
#define CHILDREN 3

static void check_pages(uint64_t *region, uint64_t from, uint64_t step, uint64_t seed, const char *who) {
  uint64_t sum = 0;
  for (uint64_t page = from; page < FORK_PAGES; page += step)
    EXPECT(pattern_check(region + page * PAGE_WORDS, seed, page, &sum) == 0, "fork: page %" PRIu64 " of %s", page, who);
}

/* Copy on write, with parent and children writing at the same time. */
static void forks(uint64_t seed) {
  uint64_t *region = map(FORK_PAGES, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (uint64_t page = 0; page < FORK_PAGES; page++) pattern_write(region + page * PAGE_WORDS, seed, page);
  pid_t children[CHILDREN];
  for (uint64_t child = 0; child < CHILDREN; child++) {
    fflush(stdout);
    children[child] = fork();
    if (children[child] < 0) _exit(2);
    if (children[child] != 0) continue;
    check_pages(region, 0, 1, seed, "a child as it was born");
    for (uint64_t page = 1; page < FORK_PAGES; page += 2) pattern_write(region + page * PAGE_WORDS, seed + 1000 + child, page);
    check_pages(region, 1, 2, seed + 1000 + child, "a child");
    check_pages(region, 0, 2, seed, "a child that did not write");
    _exit(0);
  }
  for (int child = 0; child < CHILDREN; child++) {
    int status;
    if (waitpid(children[child], &status, 0) < 0) _exit(2);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "fork: child %d ended with %x", child, status);
  }
  check_pages(region, 0, 1, seed, "the parent");
  for (uint64_t page = 0; page < FORK_PAGES; page += 4) pattern_write(region + page * PAGE_WORDS, seed + 1, page);
  check_pages(region, 0, 4, seed + 1, "the parent that wrote");
  check_pages(region, 1, 4, seed, "the parent beside what it wrote");
  munmap(region, FORK_PAGES * PAGE);
}

/* What a program gave back reads as zero, and can be had again. */
static void given_back(uint64_t seed) {
  uint64_t sum = 0;
  uint64_t *region = map(FORK_PAGES, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (uint64_t page = 0; page < FORK_PAGES; page++) pattern_write(region + page * PAGE_WORDS, seed, page);
  for (unsigned i = 0; i < 24; i++) {
    uint64_t first = random_below(FORK_PAGES - 16), count = 1 + random_below(16);
    if (madvise(region + first * PAGE_WORDS, count * PAGE, MADV_DONTNEED) != 0) _exit(2);
    for (uint64_t page = first; page < first + count; page++) {
      EXPECT(page_is_zero(region + page * PAGE_WORDS), "given back: page %" PRIu64 " is not zero", page);
      pattern_write(region + page * PAGE_WORDS, seed, page);
    }
  }
  for (uint64_t page = 0; page < FORK_PAGES; page++)
    EXPECT(pattern_check(region + page * PAGE_WORDS, seed, page, &sum) == 0, "given back: page %" PRIu64, page);
  munmap(region, FORK_PAGES * PAGE);
}

#define LOAD(name, instruction) \
  static uint64_t name(const volatile void *at) { uint64_t value; __asm__ volatile(instruction " %0, 0(%1)" : "=r"(value) : "r"(at) : "memory"); return value; }
#define STORE(name, instruction) \
  static void name(volatile void *at, uint64_t value) { __asm__ volatile(instruction " %1, 0(%0)" : : "r"(at), "r"(value) : "memory"); }
LOAD(load_half, "lh") LOAD(load_half_unsigned, "lhu") LOAD(load_word, "lw") LOAD(load_word_unsigned, "lwu") LOAD(load_double, "ld")
STORE(store_half, "sh") STORE(store_word, "sw") STORE(store_double, "sd")

static uint64_t load_float(const volatile void *at) {
  uint64_t value;
  __asm__ volatile("fld ft0, 0(%1)\n fmv.x.d %0, ft0" : "=r"(value) : "r"(at) : "ft0", "memory");
  return value;
}
static void store_float(volatile void *at, uint64_t value) {
  __asm__ volatile("fmv.d.x ft0, %1\n fsd ft0, 0(%0)" : : "r"(at), "r"(value) : "ft0", "memory");
}

static __attribute__((noinline)) uint64_t bytes_at(const volatile uint8_t *at, unsigned size) {
  uint64_t value = 0;
  for (unsigned i = 0; i < size; i++) value |= (uint64_t)at[i] << (8 * i);
  return value;
}

static uint64_t sign_extend(uint64_t value, unsigned size) { return (uint64_t)((int64_t)(value << (64 - 8 * size)) >> (64 - 8 * size)); }

static sigjmp_buf refused;
static void on_refusal(int signal) { siglongjmp(refused, signal); }

/* A store whose second page is refused: nothing of the first may have changed. */
static void refused_half(uint64_t *region) {
  if (mprotect(region + PAGE_WORDS, PAGE, PROT_READ) != 0) _exit(2);
  volatile uint8_t *edge = (volatile uint8_t *)region + PAGE - 4;
  const volatile uint64_t before = bytes_at(edge, 8);
  signal(SIGSEGV, on_refusal);
  if (sigsetjmp(refused, 1) == 0) {
    store_double(edge, ~before);
    EXPECT(0, "misaligned: a store to a read-only page was done");
  }
  signal(SIGSEGV, SIG_DFL);
  EXPECT(bytes_at(edge, 8) == before, "misaligned: half a store was done");
}

/* Misaligned accesses inside a page and across its end: to pages that are there, new, shared with a child, and refused. */
static void misaligned(uint64_t seed) {
  static void (*const stores[])(volatile void *, uint64_t) = {store_half, store_word, store_double, store_float};
  static const unsigned sizes[] = {2, 4, 8, 8};
  for (unsigned kind = 0; kind < 4; kind++) {
    for (unsigned offset = PAGE - 9; offset <= PAGE; offset++) {
      unsigned size = sizes[kind];
      uint64_t value = random_below(1u << 30) * 0x100000001b3u ^ seed;
      /* Both pages new: the second fault comes after the first page is there, and the instruction starts again. */
      volatile uint8_t *at = map(2, MAP_PRIVATE | MAP_ANONYMOUS, -1);
      if (offset & 1) EXPECT(bytes_at(at + PAGE - 4, 8) == 0, "misaligned: a new page is not zero");
      stores[kind](at + offset, value);
      EXPECT(bytes_at(at + offset, size) == (size == 8 ? value : value & ((1ul << (8 * size)) - 1)), "misaligned store of %u at %u", size, offset);
      EXPECT(at[offset - 1] == 0 && at[offset + size] == 0, "misaligned store of %u at %u wrote beside", size, offset);
      EXPECT(load_half(at + offset) == sign_extend(bytes_at(at + offset, 2), 2), "lh at %u", offset);
      EXPECT(load_half_unsigned(at + offset) == bytes_at(at + offset, 2), "lhu at %u", offset);
      EXPECT(load_word(at + offset) == sign_extend(bytes_at(at + offset, 4), 4), "lw at %u", offset);
      EXPECT(load_word_unsigned(at + offset) == bytes_at(at + offset, 4), "lwu at %u", offset);
      EXPECT(load_double(at + offset) == bytes_at(at + offset, 8), "ld at %u", offset);
      EXPECT(load_float(at + offset) == bytes_at(at + offset, 8), "fld at %u", offset);
      munmap((void *)at, 2 * PAGE);
    }
  }
  /* Shared with a child: both pages are copied, or none. */
  uint64_t *region = map(64, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (uint64_t page = 0; page < 64; page++) pattern_write(region + page * PAGE_WORDS, seed, page);
  fflush(stdout);
  pid_t child = fork();
  for (uint64_t page = 0; page < 63; page++) {
    volatile uint8_t *at = (volatile uint8_t *)region + page * PAGE + PAGE - 3;
    uint64_t before = bytes_at(at, 8), value = child == 0 ? ~before : before + 1;
    store_double(at, value);
    EXPECT(bytes_at(at, 8) == value, "misaligned: a page shared with a child");
  }
  if (child == 0) _exit(0);
  int status;
  if (waitpid(child, &status, 0) < 0) _exit(2);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "misaligned: the child");
  refused_half(region);
  munmap(region, 64 * PAGE);
}

/* Atomics of two processes on a page that both have, under different addresses. */
static void atomics(void) {
  enum { EACH = 4000 };
  int file = memfd_create("atomics", 0);
  if (file < 0 || ftruncate(file, PAGE) != 0) _exit(2);
  uint64_t *mine = map(1, MAP_SHARED, file), *other = map(1, MAP_SHARED, file);
  EXPECT(mine[0] == 0 && other[1] == 0, "atomics: a new page is not zero");
  fflush(stdout);
  pid_t child = fork();
  uint64_t *at = child == 0 ? other : mine;
  for (unsigned i = 0; i < EACH; i++) {
    __atomic_fetch_add(&at[0], 3, __ATOMIC_SEQ_CST);
    uint64_t seen = __atomic_load_n(&at[1], __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&at[1], &seen, seen + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {}
  }
  if (child == 0) _exit(0);
  int status;
  if (waitpid(child, &status, 0) < 0) _exit(2);
  EXPECT(other[0] == 6 * EACH && mine[1] == 2 * EACH, "atomics: %" PRIu64 " and %" PRIu64, other[0], mine[1]);
  munmap(mine, PAGE);
  munmap(other, PAGE);
  close(file);
}

static void done(const char *test) {
  printf("%s %" PRIu64 "\n", test, compared);
  fflush(stdout);
  compared = 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return 64;
  uint64_t seed = strtoull(argv[1], NULL, 10), rounds = strtoull(argv[2], NULL, 10);
  random_state = seed;
  for (uint64_t round = 0; round < rounds; round++, seed += 7919) {
    aliases(seed);
    done("aliases");
    forks(seed);
    done("forks");
    given_back(seed);
    done("given-back");
    misaligned(seed);
    done("misaligned");
    atomics();
    done("atomics");
  }
  printf("witness ok\n");
  return 0;
}
