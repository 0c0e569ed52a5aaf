/*
 * The loops of the CPU benchmark: a bare S-mode program in the shape of a Linux Image, so that QEMU and Shoal load the very
 * same bytes as a kernel. Each line that it prints on the UART is: the loop's name, ticks of the time CSR, instructions retired (right on
 * Shoal only: QEMU does not count), and a checksum that both must agree on. In the end it powers off through SBI.
 */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

#define RUNS 4
#define AREA_WORDS 65536
static u32 area[AREA_WORDS];

/* --- integer loops: what gcc -O2 makes of everyday code --- */

/* CRC-32 bit by bit: nothing but registers, one branch in seven instructions. A binary translator's best case. */
static u64 crc(void) {
  u32 c = ~0u;
  for (u32 i = 0; i < 600000; i++) {
    c ^= i & 255;
    for (int k = 0; k < 8; k++) c = (c >> 1) ^ (0xedb88320u & -(c & 1));
  }
  return c;
}

/* Branches that depend on the data. */
static u64 collatz(void) {
  u64 longest = 0;
  for (u64 i = 1; i < 60000; i++) {
    u64 n = i, steps = 0;
    for (; n != 1; steps++) n = n & 1 ? 3 * n + 1 : n >> 1;
    if (steps > longest) longest = steps;
  }
  return longest;
}

/* Calls and returns. */
static __attribute__((noinline)) u64 fibonacci(u64 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
static u64 calls(void) { return fibonacci(30); }

static void quicksort(u32 *a, long first, long last) {
  while (first < last) {
    u32 pivot = a[(first + last) / 2];
    long i = first, j = last;
    while (i <= j) {
      while (a[i] < pivot) i++;
      while (a[j] > pivot) j--;
      if (i <= j) { u32 t = a[i]; a[i++] = a[j]; a[j--] = t; }
    }
    quicksort(a, first, j);
    first = i;
  }
}
static u64 sort(void) {
  u64 sum = 0;
  for (u32 round = 0; round < 4; round++) {
    u32 seed = round;
    for (int i = 0; i < 40000; i++) area[i] = (seed = seed * 1664525u + 1013904223u) >> 8;
    quicksort(area, 0, 39999);
    for (int i = 0; i < 40000; i++) sum = sum * 31 + area[i];
  }
  return sum;
}

/* A state machine over text. */
static u64 scan(void) {
  static const char text[] = "5012,-874.3e-5,+122,INVALID,.7500,T0.3e-1F,-110.700e+20;";
  u64 counts[7] = { 0 }, sum = 0;
  for (int round = 0; round < 50000; round++) {
    int state = 0;
    for (const char *p = text; *p; p++) {
      char c = *p;
      int digit = c >= '0' && c <= '9';
      switch (state) {
        case 0: state = digit ? 1 : c == '+' || c == '-' ? 2 : c == '.' ? 3 : 4; break;
        case 1: state = c == '.' ? 3 : c == 'e' ? 5 : c == ',' ? 0 : digit ? 1 : 4; break;
        case 2: state = digit ? 1 : c == '.' ? 3 : 4; break;
        case 3: state = c == 'e' ? 5 : c == ',' ? 0 : digit ? 3 : 4; break;
        case 4: state = c == ',' ? 0 : 4; break;
        case 5: state = c == '+' || c == '-' ? 6 : 4; break;
        case 6: state = c == ',' ? 0 : digit ? 6 : 4; break;
      }
      counts[state]++;
    }
  }
  for (int i = 0; i < 7; i++) sum = sum * 31 + counts[i];
  return sum;
}

struct node { struct node *next; u64 key; };
static u64 list(void) {
  struct node *nodes = (struct node *)area, *head = nodes;
  for (int i = 0; i < 2000; i++) { nodes[i].key = (i * 7919) % 2003; nodes[i].next = i < 1999 ? &nodes[i + 1] : 0; }
  u64 sum = 0;
  for (u64 round = 0; round < 2000; round++) {
    struct node *reversed = 0;
    while (head) { struct node *next = head->next; head->next = reversed; reversed = head; head = next; }
    head = reversed;
    for (struct node *n = head; n && n->key != round; n = n->next) sum += n->key;
  }
  return sum;
}

/* --- memory loop: one load and one store in six instructions, over 256 KiB --- */

static u64 memory(void) {
  u64 *a = (u64 *)area, sum = 0;
  for (int i = 0; i < AREA_WORDS / 2; i++) a[i] = i;
  for (int round = 0; round < 400; round++)
    for (int i = 0; i < AREA_WORDS / 2; i++) { sum += a[i]; a[i] ^= sum; }
  return sum;
}

/* --- timing and printing --- */

static volatile u8 *const uart = (volatile u8 *)0x10000000ul;
static void put(char c) {
  while (!(uart[5] & 0x20)) {}
  uart[0] = c;
}
static void print(u64 v) {
  put(' ');
  for (int shift = 60; shift >= 0; shift -= 4) put("0123456789abcdef"[(v >> shift) & 15]);
}
static u64 ticks(void) { u64 t; __asm__ volatile("rdtime %0" : "=r"(t)); return t; }
static u64 retired(void) { u64 n; __asm__ volatile("rdinstret %0" : "=r"(n)); return n; }

static void measure(const char *name, u64 (*loop)(void)) {
  for (int run = 0; run < RUNS; run++) {
    u64 n = retired(), t = ticks();
    u64 sum = loop();
    t = ticks() - t;
    n = retired() - n;
    for (const char *p = name; *p; p++) put(*p);
    print(t); print(n); print(sum);
    put('\n');
  }
}

void start(void) {
  measure("crc", crc);
  measure("collatz", collatz);
  measure("calls", calls);
  measure("sort", sort);
  measure("scan", scan);
  measure("list", list);
  measure("memory", memory);
  register u64 extension __asm__("a7") = 0x53525354, function __asm__("a6") = 0, type __asm__("a0") = 0, reason __asm__("a1") = 0;
  __asm__ volatile("ecall" : : "r"(extension), "r"(function), "r"(type), "r"(reason));
  for (;;) {}
}

/* The header: a jump over it, text offset, image size, flags, and the magic number at 56. */
__asm__(".section .head, \"ax\"\n.option push\n.option norvc\n"
        "j 1f\nnop\n.dword 0x200000, image_size, 0\n.word 2, 0\n.dword 0, 0\n.word 0x05435352, 0\n"
        "1: la sp, stack_top\nj start\n.option pop\n.text\n");
