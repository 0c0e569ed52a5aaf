/*
 * Regular expressions by backtracking, as most libraries match them: the pattern becomes a small program, which a recursive function runs.
 * Literals . [a-z] [^a-z] ( ) | * + ? ^ $ and a backslash.
 */
#include <stdlib.h>
#include <string.h>

#include "items.h"

#define TEXT (1 << 18)
#define ROUNDS 4
#define PROGRAM 64
#define SETS 16

/* SPLIT tries `x` first, then `y`; both, as the target of JUMP, are relative. */
enum operation { CHARACTER, ANY, SET, SPLIT, JUMP, LINE_START, LINE_END, MATCH };

struct instruction {
  enum operation operation;
  int x, y;
};

static struct instruction program[PROGRAM];
static int length;
static uint8_t sets[SETS][32];
static int set_count;
static const char *pattern;

/* --- from pattern to program --- */

static void insert(int at, struct instruction instruction) {
  if (length == PROGRAM) abort();
  memmove(&program[at + 1], &program[at], (length++ - at) * sizeof program[0]);
  program[at] = instruction;
}

static void append(enum operation operation, int x, int y) { insert(length, (struct instruction){operation, x, y}); }

static void parse_alternatives(void);

static void parse_set(void) {
  if (set_count == SETS) abort();
  uint8_t *set = sets[set_count];
  memset(set, 0, sizeof sets[0]);
  int negated = *pattern == '^';
  pattern += negated;
  while (*pattern != ']') {
    int from = (uint8_t)*pattern++, to = from;
    if (*pattern == '-') to = (uint8_t)pattern[1], pattern += 2;
    for (int c = from; c <= to; c++) set[c / 8] |= 1 << c % 8;
  }
  pattern++;
  for (int i = 0; negated && i < 32; i++) set[i] = ~set[i];
  append(SET, set_count++, 0);
}

static void parse_atom(void) {
  char c = *pattern++;
  switch (c) {
    case '(': parse_alternatives(), pattern++; break;
    case '[': parse_set(); break;
    case '.': append(ANY, 0, 0); break;
    case '^': append(LINE_START, 0, 0); break;
    case '$': append(LINE_END, 0, 0); break;
    case '\\': c = *pattern++; /* falls through */
    default: append(CHARACTER, c, 0);
  }
}

static void parse_sequence(void) {
  while (*pattern && *pattern != '|' && *pattern != ')') {
    int start = length;
    parse_atom();
    int size = length - start;
    switch (*pattern) {
      case '*':
        insert(start, (struct instruction){SPLIT, 1, size + 2});
        append(JUMP, -(size + 1), 0);
        break;
      case '+': append(SPLIT, -size, 1); break;
      case '?': insert(start, (struct instruction){SPLIT, 1, size + 1}); break;
      default: continue;
    }
    pattern++;
  }
}

static void parse_alternatives(void) {
  int start = length;
  parse_sequence();
  if (*pattern != '|') return;
  pattern++;
  insert(start, (struct instruction){SPLIT, 1, length - start + 2});
  int jump = length;
  append(JUMP, 0, 0);
  parse_alternatives();
  program[jump].x = length - jump;
}

static void compile(const char *text) {
  pattern = text;
  length = set_count = 0;
  parse_alternatives();
  append(MATCH, 0, 0);
}

/* --- matching --- */

/* The end of the match at `at`, or NULL. A line ends with a newline, and there `end` is. */
static const char *match(const struct instruction *pc, const char *at, const char *line, const char *end) {
  for (;;) {
    switch (pc->operation) {
      case CHARACTER:
        if (*at++ != pc->x) return NULL;
        break;
      case ANY:
        if (at++ == end) return NULL;
        break;
      case SET: {
        uint8_t c = *at++;
        if (c == '\n' || !(sets[pc->x][c / 8] >> c % 8 & 1)) return NULL;
        break;
      }
      case LINE_START:
        if (at != line) return NULL;
        break;
      case LINE_END:
        if (at != end) return NULL;
        break;
      case SPLIT: {
        const char *found = match(pc + pc->x, at, line, end);
        if (found) return found;
        pc += pc->y;
        continue;
      }
      case JUMP: pc += pc->x; continue;
      case MATCH: return at;
    }
    pc++;
  }
}

static const char *const patterns[] = {
    "[0-9]+-[0-9]+-[0-9]+",
    "[a-z]+@[a-z]+\\.(net|org|example)",
    "(ba|de|po)[a-z]*(ni|te)s?[ .]",
    "^[a-z]+ .* [0-9-]+\\.$",
    "[aeiou][^aeiou ][aeiou][^aeiou ]u ",
    "(([a-m]+[n-z])+ )+[0-9]",
};

static char text[TEXT + 1];

static void prepare(void) {
  fill_text(text, TEXT, 5);
  text[TEXT] = '\n';
}

/* All matches of the compiled pattern that do not overlap. */
static uint64_t search(uint64_t checksum) {
  for (const char *line = text; line < text + TEXT; line = strchr(line, '\n') + 1) {
    const char *end = strchr(line, '\n');
    for (const char *at = line; at <= end; at++) {
      const char *found = match(program, at, line, end);
      if (!found) continue;
      checksum = mix(checksum, (at - text) * 256 + (found - at));
      if (found > at) at = found - 1;
    }
  }
  return checksum;
}

static uint64_t work(void) {
  uint64_t checksum = 0;
  for (int round = 0; round < ROUNDS; round++) {
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
      compile(patterns[i]);
      checksum = search(checksum);
    }
  }
  return checksum;
}

const struct item regex_item = {"regex", prepare, work};
