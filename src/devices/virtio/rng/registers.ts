/** virtio entropy device (virtio 1.2, 5.4): one queue of writable buffers, no features, no configuration. */
export const DEVICE_ID = 4;
export const QUEUE_SIZE = 8;
/** Bytes that one request gets at most; the driver asks again for more. */
export const CHUNK_BYTES = 4096;
/** Longest buffer a driver may offer. */
export const CHAIN_BYTES_MAX = 1024 * 1024;
