/**
 * A whole terminal to draw on, and its keys. Lines that did not change are not written again. However the program ends, the terminal is given
 * back as it was: by `close`, at an exit, at a signal.
 *
 * Not a library of widgets: decision 20 says what that would cost each second.
 */
import { emitKeypressEvents, type Key } from 'node:readline';

const ALTERNATE_SCREEN = '\x1b[?1049h\x1b[?25l';
const OWN_SCREEN = '\x1b[?25h\x1b[?1049l';
/** Terminals that know it show the frame at once, others ignore it. */
const BEGIN_FRAME = '\x1b[?2026h';
const END_FRAME = '\x1b[?2026l';
const CLEAR = '\x1b[2J';

export interface CanvasOptions {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  /** The picture for a terminal of this size: at most `rows` lines of at most `columns` visible characters. */
  draw(columns: number, rows: number): readonly string[];
  /** A key by its name (`q`, `up`), with `ctrl-` and `shift-` before it; `end-of-input` when there will be none any more. */
  onKey(name: string): void;
}

export class Canvas implements Disposable {
  readonly #options: CanvasOptions;
  #shown: readonly string[] = [];
  #open = true;

  constructor(options: CanvasOptions) {
    this.#options = options;
    const { stdin, stdout } = options;
    process.on('exit', this.#restore);
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
    emitKeypressEvents(stdin);
    stdin.setRawMode(true);
    stdin.on('keypress', this.#onKey);
    stdin.on('end', this.#onEnd);
    stdin.on('error', noop);
    stdin.resume();
    stdout.on('resize', this.#onResize);
    // A terminal that goes away says so here, and then as a signal.
    stdout.on('error', noop);
    stdout.write(ALTERNATE_SCREEN + CLEAR);
    this.draw();
  }

  /** Shows the picture as it is now. A terminal that has not taken the last one is left alone. */
  draw(): void {
    const { stdout } = this.#options;
    if (!this.#open || stdout.writableNeedDrain) return;
    // A terminal that does not know its size says 0.
    const lines = this.#options.draw(stdout.columns || 80, stdout.rows || 24);
    let text = '';
    for (const [row, line] of lines.entries()) if (line !== this.#shown[row]) text += `\x1b[${row + 1};1H\x1b[2K${line}`;
    if (text !== '') stdout.write(BEGIN_FRAME + text + END_FRAME);
    this.#shown = lines;
  }

  /** Gives the terminal back. Idempotent. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    const { stdin, stdout } = this.#options;
    stdin.off('keypress', this.#onKey);
    stdin.off('end', this.#onEnd);
    stdin.pause();
    stdout.off('resize', this.#onResize);
    this.#restore();
    process.off('exit', this.#restore);
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
  }

  readonly #restore = (): void => {
    if (!this.#open) return;
    this.#open = false;
    this.#options.stdin.setRawMode(false);
    this.#options.stdout.write(OWN_SCREEN);
  };

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this[Symbol.dispose]();
    // Ours was the only handler: the default action, as if there had been none.
    process.kill(process.pid, signal);
  };

  readonly #onKey = (_text: string | undefined, key: Key): void => {
    if (key.name !== undefined) this.#options.onKey(`${key.ctrl ? 'ctrl-' : ''}${key.shift ? 'shift-' : ''}${key.name}`);
  };

  readonly #onEnd = (): void => this.#options.onKey('end-of-input');

  readonly #onResize = (): void => {
    this.#shown = [];
    this.#options.stdout.write(CLEAR);
    this.draw();
  };
}

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
const noop = (): void => {};
