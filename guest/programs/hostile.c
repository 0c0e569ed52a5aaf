/*
 * A kernel of its own that means harm: random accesses to every device register and to holes, then rings and descriptors that loop, are
 * overlong, lie outside RAM or at its very end, and change while a device reads them, and SBI calls with addresses that are none.
 *
 * Runs without page tables. Traps are skipped. It may well destroy what is in its own RAM, so what devices are given of it lies above the
 * program. Prints "hostile done" and powers off by the SBI. Needs 32 MiB of RAM.
 */
#include <stdint.h>

#define RAM_END 0x82000000ul
#define SCRATCH 0x80a00000ul
#define SCRATCH_BYTES 0x100000ul
#define UART (*(volatile uint8_t *)0x10000000)
#define VIRTIO 0x10001000ul
#define SLOTS 8
#define RING_SIZE 16
#define ROUNDS 120

/* The head of a RISC-V Linux image (Documentation/arch/riscv/boot-image-header.rst), then a stack and main. */
__asm__(
  ".section .head, \"ax\"\n"
  "j start\n .balign 8\n"
  ".quad 0x200000\n .quad image_size\n .quad 0\n .word 2\n .word 0\n .quad 0\n .ascii \"RISCV\\0\\0\\0\"\n .ascii \"RSC\\x05\"\n .word 0\n"
  "start: la sp, stack_top\n call main\n"
  /* Skips the instruction that trapped, which may be a compressed one. */
  ".balign 4\n trap: csrw sscratch, t0\n addi sp, sp, -16\n sd t1, 0(sp)\n"
  "csrr t0, sepc\n lhu t1, 0(t0)\n andi t1, t1, 3\n addi t1, t1, -3\n addi t0, t0, 2\n bnez t1, 1f\n addi t0, t0, 2\n"
  "1: csrw sepc, t0\n ld t1, 0(sp)\n addi sp, sp, 16\n csrr t0, sscratch\n sret\n"
  ".text\n");
extern const char trap[];

static uint64_t state = 0x9e3779b97f4a7c15;
static uint64_t random_word(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}
static uint64_t below(uint64_t end) { return (random_word() >> 8) % end; }

static void print(const char *text) {
  while (*text) UART = *text++;
}

static uint64_t sbi(uint64_t extension, uint64_t function, uint64_t x, uint64_t y, uint64_t z) {
  register uint64_t a0 __asm__("a0") = x, a1 __asm__("a1") = y, a2 __asm__("a2") = z;
  register uint64_t a6 __asm__("a6") = function, a7 __asm__("a7") = extension;
  __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
  return a0;
}

/* An address that a device is asked to use: mostly scratch memory, else one that is wrong in one of many ways. */
static uint64_t address(void) {
  switch (below(12)) {
    case 0: return random_word();
    case 1: return RAM_END - below(64);
    case 2: return RAM_END + below(1 << 20);
    case 3: return 0x80000000ul - below(64);
    case 4: return VIRTIO + below(SLOTS * 0x1000);
    case 5: return ~below(4096);
    case 6: return (1ul << 32) + SCRATCH;
    default: return SCRATCH + below(SCRATCH_BYTES);
  }
}

static void access(uint64_t at) {
  uint64_t value = below(3) ? below(16) : random_word();
  switch (below(8)) {
    case 0: *(volatile uint8_t *)at = value; break;
    case 1: *(volatile uint16_t *)at = value; break;
    case 2: *(volatile uint64_t *)at = value; break;
    case 3: (void)*(volatile uint8_t *)at; break;
    case 4: (void)*(volatile uint64_t *)at; break;
    case 5: (void)*(volatile uint32_t *)at; break;
    default: *(volatile uint32_t *)at = value;
  }
}

static void hammer_registers(void) {
  static const uint64_t windows[] = { 0x10000000, 0x10101000, 0x101000, 0x0c000000, 0x0c002000, 0x0c200000, 0x0, 0x2000000, 0x100000, 0x40000000 };
  for (int i = 0; i < 10000; i++) access(below(2) ? windows[below(sizeof windows / 8)] + below(0x1010) : VIRTIO + below(SLOTS * 0x1000));
}

static volatile uint32_t *slot_register(uint64_t slot, uint64_t offset) { return (volatile uint32_t *)(VIRTIO + slot * 0x1000 + offset); }

struct descriptor { uint64_t address; uint32_t length; uint16_t flags, next; };

/* Virtio 1.2, 2.7: a split ring at `ring`, of which any part is nonsense. */
static void fill_ring(uint64_t ring) {
  volatile struct descriptor *table = (volatile struct descriptor *)ring;
  volatile uint16_t *available = (volatile uint16_t *)(ring + 0x1000);
  for (int i = 0; i < RING_SIZE; i++) {
    table[i].address = address();
    table[i].length = below(3) ? below(8192) : (uint32_t)random_word();
    table[i].flags = below(4) ? below(8) : random_word();
    table[i].next = below(8) ? below(RING_SIZE) : random_word();
    /* The head of a block request that is in order, so that some get further. */
    ((volatile uint32_t *)(SCRATCH + i * 64))[0] = below(6);
    ((volatile uint64_t *)(SCRATCH + i * 64))[1] = below(2) ? below(600) : random_word();
    available[2 + i] = below(8) ? below(RING_SIZE) : random_word();
  }
  available[1] = below(4) ? available[1] + below(RING_SIZE) : random_word();
}

static void hammer_device(uint64_t slot) {
  static const uint16_t addresses[] = { 0x80, 0x90, 0xa0 };
  for (int round = 0; round < ROUNDS; round++) {
    if (round % 20 == 0) {
      *slot_register(slot, 0x70) = 0;
      *slot_register(slot, 0x70) = 3;
      *slot_register(slot, 0x24) = 1;
      *slot_register(slot, 0x20) = 1;
      *slot_register(slot, 0x24) = 0;
      *slot_register(slot, 0x20) = below(2) ? 0 : *slot_register(slot, 0x10);
      *slot_register(slot, 0x70) = 11;
      for (uint32_t queue = 0; queue < 8; queue++) {
        uint64_t ring = SCRATCH + 0x10000 + queue * 0x4000;
        *slot_register(slot, 0x30) = queue;
        *slot_register(slot, 0x38) = below(8) ? RING_SIZE : random_word();
        for (int part = 0; part < 3; part++) {
          uint64_t at = below(16) ? ring + part * 0x1000 : address();
          *slot_register(slot, addresses[part]) = (uint32_t)at;
          *slot_register(slot, addresses[part] + 4) = at >> 32;
        }
        *slot_register(slot, 0x44) = 1;
      }
      *slot_register(slot, 0x70) = 15;
    }
    for (uint32_t queue = 0; queue < 8; queue++) {
      fill_ring(SCRATCH + 0x10000 + queue * 0x4000);
      *slot_register(slot, 0x50) = below(16) ? queue : (uint32_t)random_word();
      /* Changed while the device may be at it. */
      ((volatile uint64_t *)(SCRATCH + 0x10000 + queue * 0x4000))[below(2 * RING_SIZE)] = address();
    }
    access(VIRTIO + slot * 0x1000 + below(0x200));
  }
}

__attribute__((used)) static void main(void) {
  __asm__ volatile("csrw stvec, %0\n csrw sie, zero" : : "r"(trap));
  hammer_registers();
  for (uint64_t slot = 0; slot < SLOTS; slot++)
    if (*slot_register(slot, 8) != 0) hammer_device(slot);
  for (int i = 0; i < 2000; i++) {
    sbi(0x4442434e, below(2), below(2) ? below(64) : random_word(), address(), below(4) ? 0 : random_word());
    sbi(random_word(), random_word(), random_word(), random_word(), random_word());
  }
  print("\nhostile done\n");
  for (;;) sbi(0x53525354, 0, 0, 0, 0);
}
