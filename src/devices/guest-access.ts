/**
 * What a device needs from its guest's physical memory (`GuestMemory` is the implementation).
 *
 * A request holds all its pages first, all or nothing, then acts, then releases. Lengths are bytes.
 */
export interface DmaRange {
  readonly address: number;
  readonly length: number;
  /** True when the device writes the memory. */
  readonly write: boolean;
}

export interface Hold {
  /** Views of the held bytes, in the order of the ranges, split at page boundaries. Valid until `release`. */
  readonly segments: readonly Uint8Array[];
  release(): void;
}

/** `wait`: some page is not to be had now; `retry` is called once, on the VM's thread, when it is worth trying again. `fault`: not RAM. */
export type HoldResult = Hold | 'wait' | 'fault';

export interface GuestAccess {
  hold(ranges: readonly DmaRange[], retry: () => void): HoldResult;
  /**
   * Single fields of a ring, little-endian, naturally aligned, so never across a page end; nothing is allocated on the JavaScript heap. Reads give
   * the unsigned value, -1 (`NOT_RAM`) or -2 (`MUST_WAIT`: the device tries again at its next `poll`).
   */
  readU16(address: number): number;
  readU32(address: number): number;
  /** Writes go through the write-fault path like a guest's store: 0, or -1 / -2 with nothing changed. */
  writeU16(address: number, value: number): number;
  writeU32(address: number, value: number): number;
  /**
   * Makes the whole page at `address` (page-aligned) a copy-on-write view of a shared frame, whose reference the caller passes on.
   * False, and the reference stays the caller's, when the page cannot be replaced now (held, not RAM).
   */
  mapShared(address: number, frame: number): boolean;
  /**
   * Gives the pages with these guest frame numbers to the balloon / takes them back. Lists come from the guest, in any order and with anything in
   * them: what is no memory, is held, or is there already stays as it is. Pages that really changed, each counted once.
   */
  balloon(guestFrames: Uint32Array): number;
  deflate(guestFrames: Uint32Array): number;
  /** Free page reporting: the guest says that these pages hold nothing; they read as zero afterwards. */
  discard(address: number, length: number): number;
}
