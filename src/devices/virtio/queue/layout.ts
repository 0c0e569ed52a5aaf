/** Split virtqueue in guest memory (virtio 1.2, 2.7), offsets in bytes, all little-endian. */
export const DESCRIPTOR_SIZE = 16;
export const DESCRIPTOR_ADDRESS_LOW = 0;
export const DESCRIPTOR_ADDRESS_HIGH = 4;
export const DESCRIPTOR_LENGTH = 8;
/** u16 flags, then u16 next: read as one word. */
export const DESCRIPTOR_FLAGS_NEXT = 12;

export const FLAG_NEXT = 1;
export const FLAG_WRITE = 2;
export const FLAG_INDIRECT = 4;

export const AVAILABLE_FLAGS = 0;
export const AVAILABLE_INDEX = 2;
export const AVAILABLE_RING = 4;
export const AVAILABLE_NO_INTERRUPT = 1;

export const USED_INDEX = 2;
export const USED_RING = 4;
export const USED_ELEMENT_SIZE = 8;

/** Addresses from here on are no guest's RAM, and arithmetic on them would lose bits. */
export const ADDRESS_HIGH_END = 0x10_0000;
