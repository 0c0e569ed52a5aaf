/*
 * Two clocks. `ticks` is the time register, 10 MHz: guest time, which stands still while the guest waits for the host. `wall_ms` reads
 * the goldfish real-time clock of the machine (address as in QEMU's virt), which does not, in milliseconds. Only root may, and the kernel's
 * own driver loses it: a device that a driver has cannot be mapped.
 */
#ifndef SHOAL_CLOCKS_H
#define SHOAL_CLOCKS_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define TICKS_PER_MS 10000
#define RTC_ADDRESS 0x101000
#define RTC_BYTES 4096

/* The fences keep what is timed between two readings. */
static inline uint64_t ticks(void) {
  uint64_t now;
  __asm__ volatile("fence\n rdtime %0\n fence" : "=r"(now) : : "memory");
  return now;
}

static volatile uint32_t *wall_registers;

static inline void wall_open(void) {
  int driver = open("/sys/bus/platform/drivers/goldfish_rtc/unbind", O_WRONLY);
  if (driver >= 0) {
    /* Fails when it is unbound already. */
    ssize_t written = write(driver, "101000.rtc", 10);
    (void)written;
    close(driver);
  }
  int memory = open("/dev/mem", O_RDONLY | O_SYNC);
  void *at = mmap(NULL, RTC_BYTES, PROT_READ, MAP_SHARED, memory, RTC_ADDRESS);
  if (memory < 0 || at == MAP_FAILED) exit(3);
  close(memory);
  wall_registers = at;
}

static inline uint64_t wall_ms(void) {
  uint64_t low = wall_registers[0];
  return ((uint64_t)wall_registers[1] << 32 | low) / 1000000;
}

/*
 * What passed between two moments, in ticks: guest time, or wall time when the guest was stopped for longer than the wall clock's
 * resolution hides.
 */
static inline uint64_t elapsed(uint64_t guest_ticks, uint64_t wall) {
  uint64_t wall_ticks = wall * TICKS_PER_MS;
  return wall_ticks > guest_ticks + 2 * TICKS_PER_MS ? wall_ticks : guest_ticks;
}

#endif
