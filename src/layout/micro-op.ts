/**
 * A predecoded guest page: one 8-byte slot per halfword, then sentinels for what runs off its end.
 *
 * Slot: u16 operation, u8 a, u8 b, i32 immediate. An operation 0 is "not decoded yet".
 */
export const SLOT_SIZE = 8;
export const SLOT_IMMEDIATE = 4;
export const SLOTS_PER_PAGE = 2048;
/** 2048 slots and two sentinels, rounded up to whole cache lines. */
export const DECODED_PAGE_SIZE = 16448;
/**
 * The sentinels' immediates. The first one's: the page's first halfword. The second one's, for the instruction that begins in the page's last
 * slot and ends in the next page: the halfword it was decoded with there | its operation << 16, 0 when it was not.
 */
export const FIRST_HALFWORD = SLOTS_PER_PAGE * SLOT_SIZE + 4;
export const STRADDLING = FIRST_HALFWORD + SLOT_SIZE;
