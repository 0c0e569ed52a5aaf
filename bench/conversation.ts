/** A program in a guest that answers each line of its input with one line of output, or says things on its own. */
import type { Exec, Vm } from '../src/host/index.ts';

export class Conversation {
  readonly #exec: Exec;
  readonly #lines: AsyncIterator<string>;

  constructor(vm: Vm, command: string) {
    this.#exec = vm.exec(command, { stdin: 'pipe' });
    this.#lines = linesOf(this.#exec);
  }

  /** The next line that it says, by words, which begins with this one. */
  async hear(word: string): Promise<string[]> {
    const { value, done } = await this.#lines.next();
    const words = done ? [] : (value as string).split(' ');
    if (words[0] !== word)
      throw new Error(`a guest program said “${words.join(' ')}” and not “${word}”${await this.#reason(done)}`);
    return words.slice(1);
  }

  /** Says a line, and hears what begins with its first word. */
  async ask(line: string): Promise<string[]> {
    await this.say(line);
    return await this.hear(line.split(' ')[0] as string);
  }

  async say(line: string): Promise<void> {
    await this.#exec.stdin.write(`${line}\n`);
  }

  /** No more input; resolves when it has ended. */
  async end(): Promise<void> {
    await this.#exec.stdin.end();
    const { exitCode } = await this.#exec;
    if (exitCode !== 0) throw new Error(`a guest program ended with exit code ${exitCode}`);
  }

  async #reason(done: boolean | undefined): Promise<string> {
    return done ? `: it ended with exit code ${(await this.#exec).exitCode}` : '';
  }
}

async function* linesOf(exec: Exec): AsyncGenerator<string, undefined> {
  let rest = '';
  for await (const chunk of exec.stdout) {
    rest += Buffer.from(chunk).toString();
    const lines = rest.split('\n');
    rest = lines.pop() as string;
    yield* lines;
  }
  return undefined;
}
