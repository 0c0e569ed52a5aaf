/** The address map of the guest machine: QEMU's `virt`. Interrupt numbers are the PLIC's. */
export const UART_BASE = 0x1000_0000;
export const UART_SIZE = 0x100;
export const UART_IRQ = 10;
export const VIRTIO_BASE = 0x1000_1000;
export const VIRTIO_STRIDE = 0x1000;
export const VIRTIO_COUNT = 8;
/** Interrupt of virtio slot n is VIRTIO_IRQ + n. */
export const VIRTIO_IRQ = 1;
export const RTC_BASE = 0x10_1000;
export const RTC_SIZE = 0x1000;
export const RTC_IRQ = 11;
/** Where QEMU has nothing. */
export const GENERATION_BASE = 0x10_2000;
export const GENERATION_SIZE = 0x1000;
export const GENERATION_IRQ = 12;
export const PLIC_BASE = 0x0c00_0000;
export const PLIC_SIZE = 0x60_0000;
export const PLIC_SOURCES = 31;
export const RAM_BASE = 0x8000_0000;
export const KERNEL_OFFSET = 0x20_0000;
export const TIMEBASE_HZ = 10_000_000;
/**
 * Bytes that one cbo.zero clears. A whole page, so that a kernel which zeroes each page it allocates says so in one
 * instruction, and a page that is still `Zero` costs nothing.
 */
export const CBO_ZERO_BLOCK = 4096;
