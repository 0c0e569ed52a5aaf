/* Text for the items that read some. */
#include "items.h"

#define WORDS 3000
#define LONGEST 12
#define LINE 72

static char words[WORDS][LONGEST + 1];

static void make_words(uint32_t *random) {
  static const char vowels[] = "aeiou", consonants[] = "bcdfghklmnprstvw";
  for (int i = 0; i < WORDS; i++) {
    uint32_t length = 2 + next_random(random) % 5 + next_random(random) % 6;
    for (uint32_t at = 0; at < length; at++)
      words[i][at] = (at + i) % 2 ? vowels[next_random(random) % 5] : consonants[next_random(random) % 16];
    words[i][length] = 0;
  }
}

static char *put(char *to, const char *end, const char *word) {
  while (*word && to < end) *to++ = *word++;
  return to;
}

static char *put_digits(char *to, const char *end, int count, uint32_t *random) {
  while (count-- > 0 && to < end) *to++ = '0' + next_random(random) % 10;
  return to;
}

void fill_text(char *text, size_t size, uint32_t seed) {
  uint32_t random = seed;
  make_words(&random);
  char *to = text, *line = text;
  const char *end = text + size;
  while (to < end) {
    /* The product of two uniform numbers prefers the first words by far. */
    uint64_t pick = (uint64_t)(next_random(&random) % WORDS) * (next_random(&random) % WORDS) / WORDS;
    to = put(to, end, words[pick]);
    uint32_t kind = next_random(&random) % 32;
    if (kind == 0) {
      const char *host = words[next_random(&random) % WORDS], *top = next_random(&random) % 2 ? ".net" : ".example";
      to = put(put(put(to, end, "@"), end, host), end, top);
    } else if (kind == 1) {
      to = put_digits(put(to, end, " "), end, 4, &random);
      to = put_digits(put(to, end, "-"), end, 2, &random);
      to = put_digits(put(to, end, "-"), end, 2, &random);
    }
    int full = to - line > LINE;
    to = put(to, end, full ? ".\n" : " ");
    if (full) line = to;
  }
}
