/** virtio block device (virtio 1.2, 5.2). */
export const DEVICE_ID = 2;

export const FEATURE_SEGMENTS_MAX = 2;
export const FEATURE_READ_ONLY = 5;
export const FEATURE_BLOCK_SIZE = 6;
export const FEATURE_FLUSH = 9;

export const CONFIG_CAPACITY = 0; // u64, sectors
export const CONFIG_SEGMENTS_MAX = 12; // u32
export const CONFIG_BLOCK_SIZE = 20; // u32
export const CONFIG_SIZE = 60;

export const QUEUE_SIZE = 64;
/** Data buffers of one request; two such requests fit the queue at once. */
export const SEGMENTS_MAX = 30;
/** Longest request, header and status included. */
export const CHAIN_BYTES_MAX = 4 * 1024 * 1024;

export const SECTOR_SIZE = 512;
/** What a file system should write at once: a page of the writable layer. */
export const BLOCK_SIZE = 512;

/** u32 type, u32 reserved, u64 sector. */
export const HEADER_SIZE = 16;
export const TYPE_IN = 0;
export const TYPE_OUT = 1;
export const TYPE_FLUSH = 4;
export const TYPE_GET_ID = 8;
export const ID_BYTES = 20;

export const STATUS_OK = 0;
export const STATUS_IO_ERROR = 1;
export const STATUS_UNSUPPORTED = 2;
