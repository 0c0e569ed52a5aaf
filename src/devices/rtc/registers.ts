/**
 * Registers of the goldfish real-time clock, offsets in bytes, 32 bits each. Times are nanoseconds since 1970, UTC.
 *
 * Reading TIME_LOW latches TIME_HIGH; writing ALARM_LOW arms the alarm with the ALARM_HIGH written before it.
 */
export const TIME_LOW = 0x00;
export const TIME_HIGH = 0x04;
export const ALARM_LOW = 0x08;
export const ALARM_HIGH = 0x0c;
export const IRQ_ENABLED = 0x10;
export const CLEAR_ALARM = 0x14;
export const ALARM_STATUS = 0x18;
export const CLEAR_INTERRUPT = 0x1c;
