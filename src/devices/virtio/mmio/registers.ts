/** Registers of virtio over MMIO, version 2 (virtio 1.2, 4.2.2), offsets in bytes, 32 bits each. */
export const MAGIC = 0x000;
export const VERSION = 0x004;
export const DEVICE_ID = 0x008;
export const VENDOR_ID = 0x00c;
export const DEVICE_FEATURES = 0x010;
export const DEVICE_FEATURES_SELECT = 0x014;
export const DRIVER_FEATURES = 0x020;
export const DRIVER_FEATURES_SELECT = 0x024;
export const QUEUE_SELECT = 0x030;
export const QUEUE_SIZE_MAX = 0x034;
export const QUEUE_SIZE = 0x038;
export const QUEUE_READY = 0x044;
export const QUEUE_NOTIFY = 0x050;
export const INTERRUPT_STATUS = 0x060;
export const INTERRUPT_ACKNOWLEDGE = 0x064;
export const STATUS = 0x070;
export const QUEUE_DESCRIPTORS_LOW = 0x080;
export const QUEUE_DESCRIPTORS_HIGH = 0x084;
export const QUEUE_AVAILABLE_LOW = 0x090;
export const QUEUE_AVAILABLE_HIGH = 0x094;
export const QUEUE_USED_LOW = 0x0a0;
export const QUEUE_USED_HIGH = 0x0a4;
/** Length and base of shared memory: all ones, since no device has any. */
export const SHARED_MEMORY_FIRST = 0x0b0;
export const SHARED_MEMORY_LAST = 0x0bc;
export const CONFIG_GENERATION = 0x0fc;
export const CONFIG = 0x100;

export const MAGIC_VALUE = 0x7472_6976; // "virt"
export const VERSION_VALUE = 2;
export const VENDOR_VALUE = 0x4c41_4853; // "SHAL"

export const INTERRUPT_USED = 1;
export const INTERRUPT_CONFIG = 2;

export const STATUS_DRIVER_OK = 4;
export const STATUS_FEATURES_OK = 8;
export const STATUS_NEEDS_RESET = 64;

/** Feature bits 32 … 63: only VERSION_1 (bit 32), which is required. */
export const FEATURES_HIGH = 1;
