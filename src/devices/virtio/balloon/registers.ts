/** virtio memory balloon (virtio 1.2, 5.5). Pages are 4 KiB, whatever the guest uses. */
export const DEVICE_ID = 5;

export const FEATURE_STATISTICS = 1;
export const FEATURE_DEFLATE_ON_OOM = 2;
export const FEATURE_REPORTING = 5;

/** Inflate, deflate, and then statistics and reporting, each only if its feature was accepted. */
export const QUEUE_INFLATE = 0;
export const QUEUE_DEFLATE = 1;
export const QUEUE_OPTIONAL = 2;
/** Linux refuses a reporting queue that does not take 32 ranges at once. */
export const QUEUE_SIZES = [16, 16, 32, 32];

export const CONFIG_TARGET = 0; // u32 num_pages, set by the host
export const CONFIG_ACTUAL = 4; // u32, set by the driver
export const CONFIG_SIZE = 8;

/** A list of page numbers may be this long; Linux sends 256 at once. */
export const PAGE_LIST_BYTES_MAX = 16 * 1024;
export const STATISTICS_BYTES_MAX = 1024;
/** u16 tag, u64 value, packed. */
export const STATISTIC_SIZE = 10;
/** One report may name this much memory. */
export const REPORT_BYTES_MAX = 2 ** 40;
