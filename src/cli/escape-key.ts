/**
 * The way out of an attached terminal, where every other key belongs to the guest: Ctrl-] then q. Ctrl-] twice types one Ctrl-];
 * Ctrl-] and any other key types both.
 */
export const ESCAPE_HINT = 'Ctrl-] q leaves';

const ESCAPE = 0x1d;
const QUIT = 0x71;

export class EscapeKey {
  #armed = false;

  /** What of `typed` goes to the guest, and whether the user asked to leave (what follows that is dropped). */
  take(typed: Uint8Array): { readonly forward: Uint8Array; readonly leave: boolean } {
    const forward: number[] = [];
    for (const byte of typed) {
      if (!this.#armed) {
        if (byte === ESCAPE) this.#armed = true;
        else forward.push(byte);
        continue;
      }
      this.#armed = false;
      if (byte === QUIT) return { forward: Uint8Array.from(forward), leave: true };
      forward.push(ESCAPE);
      if (byte !== ESCAPE) forward.push(byte);
    }
    return { forward: Uint8Array.from(forward), leave: false };
  }
}
