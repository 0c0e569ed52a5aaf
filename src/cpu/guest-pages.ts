/**
 * What a hart needs from its guest's physical memory. `GuestMemory` is the implementation; tests may bring another.
 *
 * A result ≥ 0 is the arena frame to use. A grant (TLB entry) made from it stays right until the implementation calls
 * `TlbControl`, which it does before the frame behind the page changes.
 */
export const NOT_RAM = -1;
/** The page cannot be had now (no memory, or its content is elsewhere): leave the slice, the instruction restarts later. */
export const MUST_WAIT = -2;

export interface GuestPages {
  /** Sharing domain: nothing that is derived from pages is shared between two of them. Default 0. */
  readonly domain?: number;
  /** Of the VM, the same as long as it has memory. Only for counting. Default 0. */
  readonly vm?: number;
  /** Never allocates: a page nobody wrote gives the zero frame. */
  frameForRead(guestFrame: number): number;
  /** Secures the page for writing: private, stamped with the current epoch, its code generation bumped if it held code. */
  frameForWrite(guestFrame: number): number;
  /** As `frameForRead`, and the frame is marked as holding code: write grants to it are dropped first. */
  frameForFetch(guestFrame: number): number;
}

/** What guest memory may ask of the TLB of the thread that runs the VM. All calls come on that thread. */
export interface TlbControl {
  /** Drops every grant (read, write, fetch), under every virtual address, that leads to this frame. */
  dropFrame(frame: number): void;
  /** Drops write grants to this frame only. */
  dropFrameWrites(frame: number): void;
  /** Drops all write grants: the epoch advanced. */
  dropAllWrites(): void;
  dropAll(): void;
}

/** Memory-mapped devices. Sizes are bytes; an 8-byte access is made as two of 4, low half first. */
export interface MmioBus {
  /** Value zero-extended, or -1 where no device answers (access fault). */
  read(address: number, size: number): number;
  /** False where no device answers. */
  write(address: number, size: number, value: number): boolean;
}
