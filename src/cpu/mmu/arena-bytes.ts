/**
 * Loads and stores of 1–8 bytes anywhere in the arena from JavaScript, without allocation. Two windows of 2 GiB each: a typed
 * array is 20 times slower at an index of 2^31 and above.
 */
const WINDOW = 0x8000_0000;
const WINDOW_FRAMES = WINDOW / 4096;

export class ArenaBytes {
  readonly #low: Uint8Array;
  readonly #high: Uint8Array;
  readonly #words: Int32Array;
  /** The value of the last `load`, and the value of the next `store`: 64 bits in two halves. */
  valueLow = 0;
  valueHigh = 0;

  constructor(memory: WebAssembly.Memory) {
    const size = memory.buffer.byteLength;
    this.#words = new Int32Array(memory.buffer);
    this.#low = new Uint8Array(memory.buffer, 0, Math.min(size, WINDOW));
    this.#high = size > WINDOW ? new Uint8Array(memory.buffer, WINDOW) : new Uint8Array(0);
  }

  /** Reads bytes `from`..`to`−1 of the value from consecutive addresses; the others of the value stay as they are. */
  load(frame: number, offset: number, from: number, to: number): void {
    const high = frame >= WINDOW_FRAMES;
    const bytes = high ? this.#high : this.#low;
    let at = (high ? frame - WINDOW_FRAMES : frame) * 4096 + offset;
    for (let i = from; i < to; i++) {
      const shift = (i & 3) * 8;
      if (i < 4) this.valueLow = (this.valueLow & ~(255 << shift)) | (bytes[at++] << shift);
      else this.valueHigh = (this.valueHigh & ~(255 << shift)) | (bytes[at++] << shift);
    }
  }

  /** Writes bytes `from`..`to`−1 of the value to consecutive addresses. */
  store(frame: number, offset: number, from: number, to: number): void {
    const high = frame >= WINDOW_FRAMES;
    const bytes = high ? this.#high : this.#low;
    let at = (high ? frame - WINDOW_FRAMES : frame) * 4096 + offset;
    for (let i = from; i < to; i++) bytes[at++] = (i < 4 ? this.valueLow : this.valueHigh) >>> ((i & 3) * 8);
  }

  /** Clears a whole frame. */
  clearFrame(frame: number): void {
    this.#words.fill(0, frame * 1024, frame * 1024 + 1024);
  }

  /** Clears a piece of any length below 2 GiB; for slow uses. */
  clear(address: number, length: number): void {
    this.#low.fill(0, address, address + length);
  }

  /** A view of bytes inside one frame; for slow uses, it allocates. */
  view(frame: number, offset: number, length: number): Uint8Array {
    return new Uint8Array(this.#low.buffer, frame * 4096 + offset, length);
  }
}
