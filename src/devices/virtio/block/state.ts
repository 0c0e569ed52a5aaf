/** Saved form of a disk: which requests the guest had given and not got back. They are begun anew, which is harmless: each is idempotent. */
export interface BlockState {
  readonly heads: readonly number[];
}
