/** What a guest says on its serial port, gathered between two looks; and what its kernel said there when it panicked, which is why it restarts. */

/** Of a line that is not ended yet, characters. */
const LINE_MAX = 300;

export class SerialLog {
  readonly #onBytes: (bytes: Uint8Array) => void;
  /** Since the last look. */
  #bytes: number[] = [];
  #lastLine = '';
  #panic = '';

  constructor(onBytes: (bytes: Uint8Array) => void) {
    this.#onBytes = onBytes;
  }

  /** Of the kernel's message, up to the last look; empty: it has not panicked. */
  get panic(): string {
    return this.#panic;
  }

  put(byte: number): void {
    this.#bytes.push(byte);
  }

  /** Hands on what has come. */
  flush(): void {
    if (this.#bytes.length === 0) return;
    const bytes = Uint8Array.from(this.#bytes.splice(0));
    const text = this.#lastLine + Buffer.from(bytes).toString('latin1');
    this.#panic = /Kernel panic - not syncing: ([^\r\n]{1,200})[\r\n]/.exec(text)?.[1] ?? this.#panic;
    this.#lastLine = text.slice(text.lastIndexOf('\n') + 1).slice(-LINE_MAX);
    this.#onBytes(bytes);
  }

  /** The guest begins anew. */
  forgetPanic(): void {
    this.#panic = '';
  }
}
