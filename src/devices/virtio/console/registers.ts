/** virtio console (virtio 1.2, 5.3), with several ports. */
export const DEVICE_ID = 3;

export const FEATURE_SIZE = 0;
export const FEATURE_MULTIPORT = 1;

export const CONFIG_COLUMNS = 0; // u16
export const CONFIG_ROWS = 2; // u16
export const CONFIG_PORTS_MAX = 4; // u32
export const CONFIG_SIZE = 12;

/** Console, agent, and 16 commands at once with three streams each. */
export const PORTS_MAX = 50;

/** Queues come in pairs, receive then transmit as the guest sees it: port 0, control, port 1, port 2… */
export const QUEUE_CONTROL_RECEIVE = 2;
export const QUEUE_CONTROL_TRANSMIT = 3;
export const receiveQueue = (port: number): number => (port === 0 ? 0 : 2 + 2 * port);
export const transmitQueue = (port: number): number => receiveQueue(port) + 1;
/** The port whose queue `index` is; not for the control queues. */
export const portOfQueue = (index: number): number => (index < 2 ? 0 : (index >>> 1) - 1);

/** Linux fills a receive queue with a page for each entry as soon as the port is there, so these cost guest memory. */
export const RECEIVE_QUEUE_SIZE = 4;
/**
 * A chain of sendfile or splice has an entry for each page of its pipe, 16 by default: where the queue is shorter, Linux drops the data
 * and reports end of file (virtio_console.c, __send_to_port). These entries cost nothing: the ring is a page either way.
 */
export const TRANSMIT_QUEUE_SIZE = 64;
export const CONTROL_QUEUE_SIZE = 16;

/** Linux writes at most 32 KiB at once, or a pipe full of pages. */
export const CHAIN_BYTES_MAX = 1024 * 1024;

/** struct virtio_console_control: u32 id, u16 event, u16 value. */
export const CONTROL_SIZE = 8;
export const CONTROL_BYTES_MAX = 4096;

export const DEVICE_READY = 0;
export const PORT_ADD = 1;
export const PORT_READY = 3;
export const CONSOLE_PORT = 4;
export const RESIZE = 5;
export const PORT_OPEN = 6;
export const PORT_NAME = 7;
