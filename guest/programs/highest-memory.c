/*
 * A kernel of its own that looks at all ends of a large RAM, without Linux: compile with -DRAM_END=address, run with that much memory.
 *
 * It identity-maps everything with Sv39 gigapages (privileged specification 4.4), fills and verifies the last 64 MiB of RAM, the pages on
 * both sides of 4 GiB and one page of every GiB, misaligned accesses across the ends of those, and then one load beyond the end of
 * RAM, which must trap. Prints on the UART and powers off by the SBI.
 */
#include <stdint.h>

#include "pattern.h"

#define GIB (1ul << 30)
#define RAM_START 0x80000000ul
#define TOP_BYTES (64ul << 20)
#define UART (*(volatile uint8_t *)0x10000000)
#define LOAD_ACCESS_FAULT 5

/* The head of a RISC-V Linux image (Documentation/arch/riscv/boot-image-header.rst), then a stack and main. */
__asm__(
  ".section .head, \"ax\"\n"
  "j start\n .balign 8\n"
  ".quad 0x200000\n .quad image_size\n .quad 0\n .word 2\n .word 0\n .quad 0\n .ascii \"RISCV\\0\\0\\0\"\n .ascii \"RSC\\x05\"\n .word 0\n"
  "start: la sp, stack_top\n call main\n"
  ".balign 4\n trap: csrr a0, scause\n csrr a1, stval\n call on_trap\n"
  ".text\n");
extern const char trap[];

static uint64_t root[512] __attribute__((aligned(4096)));
static uint64_t expected_fault;

static void print(const char *text) {
  while (*text) UART = *text++;
}

static void print_hex(uint64_t value) {
  for (int shift = 60; shift >= 0; shift -= 4) UART = "0123456789abcdef"[(value >> shift) & 15];
}

static _Noreturn void power_off(void) {
  register uint64_t kind __asm__("a0") = 0, reason __asm__("a1") = 0, function __asm__("a6") = 0, extension __asm__("a7") = 0x53525354;
  for (;;) __asm__ volatile("ecall" : "+r"(kind), "+r"(reason) : "r"(function), "r"(extension) : "memory");
}

static void report(const char *what, uint64_t value) {
  print(what);
  print(" ");
  print_hex(value);
  print("\n");
}

__attribute__((used)) static void on_trap(uint64_t cause, uint64_t address) {
  report(cause == LOAD_ACCESS_FAULT && address == expected_fault ? "beyond-end traps" : "WRONG trap", cause);
  report("at", address);
  power_off();
}

static uint64_t wrong;

static uint64_t fill(uint64_t from, uint64_t bytes) {
  uint64_t sum = 0;
  for (uint64_t page = 0; page < bytes / PAGE; page++) pattern_write((uint64_t *)from + page * PAGE_WORDS, from / PAGE, page);
  for (uint64_t page = 0; page < bytes / PAGE; page++)
    wrong += pattern_check((const uint64_t *)from + page * PAGE_WORDS, from / PAGE, page, &sum);
  return sum;
}

/* A store and a load of eight bytes, three of them before `boundary`. */
static void across(uint64_t boundary) {
  uint64_t value = 0x0123456789abcdef ^ boundary, found;
  __asm__ volatile("sd %1, -3(%2)\n ld %0, -3(%2)" : "=&r"(found) : "r"(value), "r"(boundary) : "memory");
  wrong += found != value || *(volatile uint8_t *)boundary != (uint8_t)(value >> 24);
}

__attribute__((used)) static void main(void) {
  for (uint64_t i = 0; i < 256; i++) root[i] = (i * GIB / PAGE) << 10 | 0xcf; /* V R W X A D */
  __asm__ volatile("csrw stvec, %0" : : "r"(trap));
  __asm__ volatile("sfence.vma\n csrw satp, %0\n sfence.vma" : : "r"(8ul << 60 | (uintptr_t)root / PAGE) : "memory");
  report("top", fill(RAM_END - TOP_BYTES, TOP_BYTES));
  report("four-gib", fill(4 * GIB - PAGE, 2 * PAGE));
  uint64_t sum = 0;
  for (uint64_t at = RAM_START + GIB; at < RAM_END; at += GIB) {
    sum += fill(at, PAGE);
    across(at);
  }
  report("each-gib", sum);
  across(4 * GIB);
  across(RAM_END - PAGE);
  report("last", *(volatile uint64_t *)(RAM_END - 8));
  report("wrong", wrong);
  expected_fault = RAM_END;
  (void)*(volatile uint64_t *)RAM_END;
  print("WRONG: there is something beyond the end of RAM\n");
  power_off();
}
