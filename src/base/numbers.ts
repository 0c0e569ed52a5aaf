/**
 * The numbers that must not be mixed, each with a brand of its own.
 *
 * All are plain JavaScript numbers at run time. Addresses of a guest may exceed 2^32, so they are never
 * bit-operated; page and frame numbers always fit 32 unsigned bits.
 */
declare const brand: unique symbol;
type Branded<Name extends string> = number & { readonly [brand]: Name };

/** A guest-physical byte address, below 2^53. */
export type GuestPhysAddr = Branded<'GuestPhysAddr'>;
/** A guest-physical page number: `GuestPhysAddr / 4096`. */
export type GuestFrameNumber = Branded<'GuestFrameNumber'>;
/** A 4 KiB frame of the arena: its byte address divided by 4096. Frame 0 is never handed out and means "none". */
export type FrameNumber = Branded<'FrameNumber'>;
/** A byte address in the arena, 0 ≤ address < 2^32. */
export type ArenaAddress = Branded<'ArenaAddress'>;
/** A virtual machine's slot in the pool's VM table. */
export type VmIndex = Branded<'VmIndex'>;

export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;

export const guestPhysAddr = (value: number): GuestPhysAddr => value as GuestPhysAddr;
export const guestFrameNumber = (value: number): GuestFrameNumber => value as GuestFrameNumber;
export const frameNumber = (value: number): FrameNumber => value as FrameNumber;
export const arenaAddress = (value: number): ArenaAddress => value as ArenaAddress;
export const vmIndex = (value: number): VmIndex => value as VmIndex;
