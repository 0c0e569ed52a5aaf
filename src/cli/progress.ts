/** What takes a while, on stderr: one line that is rewritten on a terminal, a line per step elsewhere. stdout stays the command's. */
import type { BuildProgress } from '../host/index.ts';

export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #quiet: boolean;
  #shown = '';

  constructor(options: { quiet?: boolean; stream?: NodeJS.WriteStream } = {}) {
    this.#quiet = options.quiet ?? false;
    this.#stream = options.stream ?? process.stderr;
  }

  /** For `onProgress` of an image that is built. */
  readonly onBuild = (progress: BuildProgress): void => {
    const percent = progress.fraction === undefined ? '' : ` ${Math.round(progress.fraction * 100)} %`;
    if (this.#stream.isTTY) this.show(`image: ${progress.message}${percent}`);
    else this.show(`image: ${progress.message}`);
  };

  show(text: string): void {
    if (this.#quiet || text === this.#shown) return;
    this.#shown = text;
    if (this.#stream.isTTY) this.#stream.write(`\r\x1b[K${text.slice(0, (this.#stream.columns || 80) - 1)}`);
    else this.#stream.write(`${text}\n`);
  }

  /** Removes the line; call it before anything else is printed. */
  clear(): void {
    if (this.#quiet || this.#shown === '') return;
    this.#shown = '';
    if (this.#stream.isTTY) this.#stream.write('\r\x1b[K');
  }
}
