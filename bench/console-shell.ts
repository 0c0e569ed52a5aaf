/**
 * The shell on a guest's console, told what to do as by somebody at the keyboard. So guests of Shoal and of QEMU are spoken to the same way, and
 * nothing runs in them that the other has not.
 */

/** The end of the prompt of both images' login shells. */
export const PROMPT = '~# ';
const TIMEOUT_MS = 180_000;
/** A terminal's line buffer is 4 KiB: files go over the console in pieces. */
const PIECE = 1_500;

export class ConsoleShell {
  readonly #type: (text: string) => void;
  /** What was printed and not yet taken. */
  #output = '';
  /** Where its last line begins that is not whole. */
  #line = 0;
  #ended = false;
  #wake: () => void = () => {};
  #hearLine: (line: string) => void = () => {};
  #commands = 0;

  private constructor(output: AsyncIterable<Uint8Array>, type: (text: string) => void) {
    this.#type = type;
    void this.#listen(output);
  }

  /** Waits for the login shell of a guest that boots, and makes it one that neither edits lines nor echoes them. */
  static async open(output: AsyncIterable<Uint8Array>, type: (text: string) => void): Promise<ConsoleShell> {
    const shell = new ConsoleShell(output, type);
    await shell.#until(PROMPT, TIMEOUT_MS);
    shell.#type('exec sh\n');
    await shell.#until('# ', TIMEOUT_MS);
    await shell.run('stty -echo; PS1=');
    return shell;
  }

  /** The shell that `open` made, in a guest that was restored. */
  static again(output: AsyncIterable<Uint8Array>, type: (text: string) => void): ConsoleShell {
    return new ConsoleShell(output, type);
  }

  /** What a command prints. `hearLine` is told each line at the moment when it comes. */
  async run(command: string, hearLine: (line: string) => void = () => {}, timeoutMs = TIMEOUT_MS): Promise<string> {
    const mark = `end-of-command-${++this.#commands}`;
    this.#hearLine = hearLine;
    // Cut in two, so that an echo of the command is not taken for its end.
    this.#type(`${command}\necho "${mark.slice(0, 4)}""${mark.slice(4)}."\n`);
    return (await this.#until(`${mark}.\r\n`, timeoutMs)).replaceAll('\r', '');
  }

  /** Writes a file. */
  async put(path: string, content: Uint8Array): Promise<void> {
    const text = Buffer.from(content).toString('base64');
    for (let at = 0; at < text.length; at += PIECE) await this.run(`echo ${text.slice(at, at + PIECE)} >>${path}.base64`);
    await this.run(`base64 -d ${path}.base64 >${path} && rm ${path}.base64`);
  }

  async #listen(output: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const chunk of output) this.#hear(Buffer.from(chunk).toString('latin1'));
    } catch {
      // The guest is gone, as when its output ends.
    }
    this.#ended = true;
    this.#wake();
  }

  #hear(text: string): void {
    this.#output += text;
    for (;;) {
      const end = this.#output.indexOf('\n', this.#line);
      if (end < 0) break;
      this.#hearLine(this.#output.slice(this.#line, end).replaceAll('\r', ''));
      this.#line = end + 1;
    }
    this.#wake();
  }

  /** Takes the output up to and with `text`, and gives what is before it. */
  async #until(text: string, timeoutMs: number): Promise<string> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const at = this.#output.indexOf(text);
      if (at >= 0) {
        const before = this.#output.slice(0, at);
        this.#output = this.#output.slice(at + text.length);
        this.#line = 0;
        return before;
      }
      if (this.#ended || performance.now() > end)
        throw new Error(`a guest never printed ${JSON.stringify(text)}:\n${this.#output.slice(-1000)}`);
      await this.#more(end - performance.now());
    }
  }

  /** Resolves when something was printed, at the latest after `timeoutMs`. */
  #more(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
