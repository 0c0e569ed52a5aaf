/** A terminal emulator whose screen is text, and streams that behave as a terminal before it. */
import { PassThrough } from 'node:stream';
import xterm from '@xterm/headless';

export class Emulator {
  readonly #terminal: xterm.Terminal;

  constructor(columns: number, rows: number) {
    this.#terminal = new xterm.Terminal({ cols: columns, rows, allowProposedApi: true });
  }

  write(data: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#terminal.write(data, resolve));
  }

  resize(columns: number, rows: number): void {
    this.#terminal.resize(columns, rows);
  }

  /** What a person sees: a line for each row, without what is blank at its end. */
  get screen(): string[] {
    const { active, normal } = this.#terminal.buffer;
    const first = active === normal ? active.baseY : 0;
    return Array.from({ length: this.#terminal.rows }, (_, row) => active.getLine(first + row)?.translateToString(true) ?? '');
  }

  /** The program has the screen to itself. */
  get alternate(): boolean {
    return this.#terminal.buffer.active.type === 'alternate';
  }
}

/** Streams that behave as a terminal of a given size. */
export class FakeTerminal {
  readonly stdin = Object.assign(new PassThrough(), { isTTY: true, raw: false, setRawMode: (raw: boolean) => this.#setRaw(raw) });
  readonly stdout: NodeJS.WriteStream;
  readonly emulator: Emulator;
  /** Bytes written so far. */
  written = 0;
  #drawn: Promise<void> = Promise.resolve();

  constructor(columns: number, rows: number) {
    this.emulator = new Emulator(columns, rows);
    const stream = new PassThrough();
    stream.on('data', (chunk: Buffer) => {
      this.written += chunk.length;
      this.#drawn = this.emulator.write(chunk);
    });
    this.stdout = Object.assign(stream, { isTTY: true, columns, rows, hasColors: () => true }) as unknown as NodeJS.WriteStream;
  }

  get raw(): boolean {
    return this.stdin.raw;
  }

  async screen(): Promise<string[]> {
    await new Promise((resolve) => setImmediate(resolve));
    await this.#drawn;
    return this.emulator.screen;
  }

  resize(columns: number, rows: number): void {
    this.emulator.resize(columns, rows);
    Object.assign(this.stdout, { columns, rows });
    this.stdout.emit('resize');
  }

  #setRaw(raw: boolean): unknown {
    this.stdin.raw = raw;
    return this.stdin;
  }
}
