/** The items of the mix: what they are called, how a program runs one, and what it prints (programs/main.c, programs/python.py). */

export const ITEMS = [
  'hash',
  'compress',
  'decompress',
  'sort',
  'regex',
  'matrix-int',
  'matrix-float',
  'chase',
  'copy',
  'syscall',
  'page-fault',
  'fork',
  'python',
] as const;
export type Item = (typeof ITEMS)[number];

/** Names of the files in the folder of programs, wherever that is. */
export const PROGRAM = 'items';
export const SCRIPT = 'python.py';

export const commandOf = (item: Item, folder: string): readonly [string, string] =>
  item === 'python' ? ['python3', `${folder}/${SCRIPT}`] : [`${folder}/${PROGRAM}`, item];

export interface Run {
  /** As the program measured itself, and as it was seen from the host. */
  readonly ns: number;
  readonly hostNs: number;
  readonly checksum: string;
}

/** Who runs items: a guest, or the machine itself. */
export interface Runner extends AsyncDisposable {
  readonly name: string;
  run(item: Item): Promise<Run>;
}

/** Hears what a program prints while it prints it. */
export class RunReader {
  readonly #item: Item;
  #beganMs = Number.NaN;
  #run: Run | undefined;
  #text = '';

  constructor(item: Item) {
    this.#item = item;
  }

  readonly hear = (line: string): void => {
    const nowMs = performance.now();
    this.#text += `${line}\n`;
    const [word, item, ns, checksum] = line.split(' ');
    if (item !== this.#item) return;
    if (word === 'begin') this.#beganMs = nowMs;
    else if (word === 'end' && checksum !== undefined)
      this.#run = { ns: Number(ns), hostNs: (nowMs - this.#beganMs) * 1e6, checksum };
  };

  /** @throws Error with what it printed instead. */
  result(runner: string): Run {
    if (this.#run === undefined) throw new Error(`${runner} gives no result for ${this.#item}:\n${this.#text.slice(-1000)}`);
    return this.#run;
  }
}
