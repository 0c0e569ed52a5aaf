/*
 * A compressor as the common ones are: matches found through hash chains, what is left coded bit by bit with probabilities that adapt (a binary
 * arithmetic coder). Compressing looks around in memory; decompressing is one long chain of branches that depend on the data.
 */
#include <stdlib.h>
#include <string.h>

#include "items.h"

#define SIZE (1 << 20)
#define COMPRESS_ROUNDS 6
#define DECOMPRESS_ROUNDS 9

#define WINDOW (1 << 16)
#define HASHES (1 << 15)
#define SHORTEST 4
#define LONGEST (SHORTEST + 255)
#define CHAIN 12

static uint8_t text[SIZE], packed[SIZE], unpacked[SIZE];
static size_t packed_size;

/* --- the coder; a probability is that of a 1, of 4096 --- */

struct coder {
  uint32_t low, high, value; /* `value` when decoding only */
  uint8_t *at;
};

struct model {
  uint16_t is_match, literal[8][256], length[256], near[256], far[256];
};

static void forget(struct model *model) {
  uint16_t *all = (uint16_t *)model;
  for (size_t i = 0; i < sizeof *model / sizeof *all; i++) all[i] = 2048;
}

static inline uint32_t middle(const struct coder *coder, uint16_t p) {
  return coder->low + ((coder->high - coder->low) >> 12) * p;
}

static inline void learn(uint16_t *p, int bit) { *p += bit ? (4096 - *p) >> 5 : -(*p >> 5); }

static void encode(struct coder *coder, uint16_t *p, int bit) {
  uint32_t between = middle(coder, *p);
  if (bit) coder->high = between;
  else coder->low = between + 1;
  learn(p, bit);
  for (; !((coder->low ^ coder->high) >> 24); coder->low <<= 8, coder->high = coder->high << 8 | 255) *coder->at++ = coder->high >> 24;
}

static int decode(struct coder *coder, uint16_t *p) {
  uint32_t between = middle(coder, *p);
  int bit = coder->value <= between;
  if (bit) coder->high = between;
  else coder->low = between + 1;
  learn(p, bit);
  for (; !((coder->low ^ coder->high) >> 24); coder->low <<= 8, coder->high = coder->high << 8 | 255)
    coder->value = coder->value << 8 | *coder->at++;
  return bit;
}

static void encode_byte(struct coder *coder, uint16_t tree[256], uint8_t byte) {
  for (int node = 1, i = 7; i >= 0; i--) {
    int bit = byte >> i & 1;
    encode(coder, &tree[node], bit);
    node = 2 * node + bit;
  }
}

static uint8_t decode_byte(struct coder *coder, uint16_t tree[256]) {
  int node = 1;
  while (node < 256) node = 2 * node + decode(coder, &tree[node]);
  return node;
}

/* --- matches --- */

static int32_t head[HASHES], previous[WINDOW];

static inline uint32_t hash_at(const uint8_t *at) {
  uint32_t word;
  memcpy(&word, at, 4);
  return word * 2654435761u >> 17;
}

static void remember(int32_t at) {
  if (at + SHORTEST > SIZE) return;
  uint32_t hash = hash_at(text + at);
  previous[at % WINDOW] = head[hash];
  head[hash] = at;
}

/* The longest match at `at`; 0 when there is none. */
static int find(int32_t at, int32_t *distance) {
  if (at + SHORTEST > SIZE) return 0;
  int best = SHORTEST - 1, limit = SIZE - at < LONGEST ? SIZE - at : LONGEST;
  int32_t candidate = head[hash_at(text + at)];
  for (int tries = 0; candidate >= 0 && at - candidate < WINDOW && tries < CHAIN; tries++) {
    int length = 0;
    while (length < limit && text[candidate + length] == text[at + length]) length++;
    if (length > best) {
      best = length;
      *distance = at - candidate;
    }
    candidate = previous[candidate % WINDOW];
  }
  return best < SHORTEST ? 0 : best;
}

static size_t compress(void) {
  struct coder coder = {0, ~0u, 0, packed};
  struct model model;
  forget(&model);
  memset(head, -1, sizeof head);
  for (int32_t at = 0; at < SIZE;) {
    int32_t distance = 0;
    int length = find(at, &distance);
    encode(&coder, &model.is_match, length > 0);
    if (length) {
      encode_byte(&coder, model.length, length - SHORTEST);
      encode_byte(&coder, model.far, distance >> 8);
      encode_byte(&coder, model.near, distance);
    } else {
      encode_byte(&coder, model.literal[at ? text[at - 1] >> 5 : 0], text[at]);
      length = 1;
    }
    while (length-- > 0) remember(at++);
  }
  for (int i = 0; i < 4; i++, coder.high <<= 8) *coder.at++ = coder.high >> 24;
  return coder.at - packed;
}

static void decompress(void) {
  struct coder coder = {0, ~0u, 0, packed};
  struct model model;
  forget(&model);
  for (int i = 0; i < 4; i++) coder.value = coder.value << 8 | *coder.at++;
  for (int32_t at = 0; at < SIZE;) {
    if (decode(&coder, &model.is_match)) {
      int length = decode_byte(&coder, model.length) + SHORTEST;
      int32_t distance = decode_byte(&coder, model.far) << 8;
      distance |= decode_byte(&coder, model.near);
      for (; length > 0; length--, at++) unpacked[at] = unpacked[at - distance];
    } else {
      unpacked[at] = decode_byte(&coder, model.literal[at ? unpacked[at - 1] >> 5 : 0]);
      at++;
    }
  }
}

static uint64_t checksum_of(const uint8_t *bytes, size_t size) {
  uint64_t checksum = size;
  for (size_t i = 0; i + 8 <= size; i += 8) {
    uint64_t word;
    memcpy(&word, bytes + i, 8);
    checksum = mix(checksum, word);
  }
  return checksum;
}

static void prepare_text(void) { fill_text((char *)text, SIZE, 2); }

static uint64_t compress_work(void) {
  uint64_t checksum = 0;
  for (int round = 0; round < COMPRESS_ROUNDS; round++) {
    size_t size = compress();
    checksum = mix(checksum, checksum_of(packed, size));
  }
  return checksum;
}

static void prepare_packed(void) {
  prepare_text();
  packed_size = compress();
}

static uint64_t decompress_work(void) {
  uint64_t checksum = packed_size;
  for (int round = 0; round < DECOMPRESS_ROUNDS; round++) {
    decompress();
    checksum = mix(checksum, checksum_of(unpacked, SIZE));
  }
  /* A guest that unpacks something else is found without another to compare it with. */
  if (memcmp(text, unpacked, SIZE) != 0) abort();
  return checksum;
}

const struct item compress_item = {"compress", prepare_text, compress_work};
const struct item decompress_item = {"decompress", prepare_packed, decompress_work};
