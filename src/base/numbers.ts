/**
 * The numbers that must not be mixed, each with a brand of its own.
 *
 * All are plain JavaScript numbers at run time. Addresses of a guest may exceed 2^32, so they are never
 * bit-operated; page and frame numbers always fit 32 unsigned bits.
 */
declare const brand: unique symbol;
type Branded<Name extends string> = number & { readonly [brand]: Name };

/** A 4 KiB frame of the arena: its byte address divided by 4096. Frame 0 is never handed out and means "none". */
export type FrameNumber = Branded<'FrameNumber'>;
/** A virtual machine's slot in the pool's VM table. */
export type VmIndex = Branded<'VmIndex'>;

export const PAGE_SIZE = 4096;

export const frameNumber = (value: number): FrameNumber => value as FrameNumber;
export const vmIndex = (value: number): VmIndex => value as VmIndex;
