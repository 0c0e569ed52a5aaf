/**
 * Registers of a 16550A, one byte each, at byte offsets (no register shift). Two share an offset by direction or by
 * the divisor latch bit. Names are the data sheet's.
 */
export const RBR = 0; // read: received byte; DLL, the divisor's low byte, when LCR.DLAB
export const THR = 0; // write: byte to send; DLL when LCR.DLAB
export const IER = 1; // DLM, the divisor's high byte, when LCR.DLAB
export const IIR = 2; // read
export const FCR = 2; // write
export const LCR = 3;
export const MCR = 4;
export const LSR = 5;
export const MSR = 6;
export const SCR = 7;

export const IER_RECEIVED = 0x01;
export const IER_SEND_EMPTY = 0x02;
export const IER_MASK = 0x0f;

export const IIR_NONE = 0x01;
export const IIR_SEND_EMPTY = 0x02;
export const IIR_RECEIVED = 0x04;
export const IIR_FIFO_ON = 0xc0;

export const FCR_ENABLE = 0x01;
export const FCR_CLEAR_RECEIVE = 0x02;

export const LCR_DIVISOR_LATCH = 0x80;

export const MCR_LOOP = 0x10;

export const LSR_READY = 0x01;
export const LSR_SEND_EMPTY = 0x20;
export const LSR_IDLE = 0x40;

/** Carrier, data set ready and clear to send: there is always somebody at the other end. */
export const MSR_CONNECTED = 0xb0;

/** Bytes of the receive FIFO. The host side keeps what does not fit. */
export const FIFO_BYTES = 16;
