/**
 * One guest page's entry: two words, each read and written whole.
 *
 *   word 0   state (bits 24–26) · flags (27–30) · frame (0–23): state and frame never change apart
 *   word 1   the epoch of the page's last write: its stamp
 *
 * What "frame" means depends on the state: nothing for `Zero` and `Ballooned`, an arena frame for `Private` and `Shared`, the
 * source's own handle for `Absent`.
 */
export const ENTRY_WORDS = 2;
export const ENTRY_STAMP = 1;
export const LEAF_PAGES = 512;

export const STATE_MASK = 0x0700_0000;
export const ZERO = 0x0000_0000;
export const PRIVATE = 0x0100_0000;
export const SHARED = 0x0200_0000;
export const BALLOONED = 0x0300_0000;
export const ABSENT = 0x0400_0000;

/** A read or fetch grant was given while the page was not private. */
export const ALIASED = 0x0800_0000;
/** The page is ROM: nobody writes it. */
export const ROM = 0x1000_0000;
/** An absent page whose source has been asked. */
export const REQUESTED = 0x2000_0000;
/** A private or shared page for which a grant was given since its owner last aged it (nominated.ts). */
export const YOUNG = 0x4000_0000;

export const FRAME_MASK = 0x00ff_ffff;

/** What a page is, without what was granted of it. */
const IDENTITY_MASK = STATE_MASK | FRAME_MASK;

export const stateOf = (entry: number): number => entry & STATE_MASK;
export const frameOf = (entry: number): number => entry & FRAME_MASK;
export const identityOf = (entry: number): number => entry & IDENTITY_MASK;

// As in cpu/guest-pages.ts, which this layer may not import at run time.
export const NOT_RAM = -1;
export const MUST_WAIT = -2;
