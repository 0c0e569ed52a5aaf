/** A command in a guest, as the caller of `vm.exec` holds it: a promise of its result that is also its streams. */
import { ShoalError } from '../base/errors.ts';
import { OutputStream } from './output.ts';
import type { ExecRequest, ExitStatus } from './protocol.ts';
import type { GuestProcess } from './service.ts';

export type ExecInput = string | Uint8Array | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

export interface ExecOptions<E extends 'utf8' | 'buffer' = 'utf8'> {
  /** Directory to run in; default is the user's home, or `/`. */
  cwd?: string;
  /** Added to the guest's own environment. */
  env?: Readonly<Record<string, string>>;
  /** Name or number of the user to run as; default root. */
  user?: string;
  /**
   * What the command reads. `'pipe'`: what is written to `.stdin` until it is ended. Left out: `.stdin` if it is touched at once, else
   * nothing.
   */
  stdin?: ExecInput | 'pipe';
  /** A terminal for the command, with a size or 80 × 24. stderr is then part of stdout. */
  tty?: boolean | { columns: number; rows: number };
  /** After so long the command's process group is killed and the result says `timedOut`. */
  timeoutMs?: number;
  /** Aborting kills the command's process group and rejects with `aborted`. */
  signal?: AbortSignal;
  /** `'buffer'` gives stdout and stderr of the result as bytes. */
  encoding?: E;
  /** The command outlives the program that started it. */
  detached?: boolean;
  /** Bound of the collected stdout and of stderr, in bytes; default 512 MiB. Streams have no bound. */
  maxOutputBytes?: number;
}

export interface ExecResult<T = string> {
  /** What the command returned; 128 + the signal's number when a signal ended it, 127 when it was not found. */
  readonly exitCode: number;
  readonly signal: string | null;
  /** True when `timeoutMs` ended it. */
  readonly timedOut: boolean;
  /** Empty when it was read as a stream. */
  readonly stdout: T;
  readonly stderr: T;
}

const OUTPUT_BYTES_MAX = 512 * 1024 * 1024;

/**
 * Awaiting it gives the result; a non-zero exit code is a result, not an error. It rejects only when the command could not be run or
 * watched: `agent-unavailable`, `host-unreachable`, `wrong-state`, `aborted`.
 */
export class Exec<T = string> implements PromiseLike<ExecResult<T>> {
  /** Bytes of stdout; with a terminal, of both. */
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly #process: Promise<GuestProcess>;
  readonly #options: ExecOptions<'utf8' | 'buffer'>;
  readonly #exit: Promise<ExitStatus>;
  #result: Promise<ExecResult<T>> | undefined;
  #stdin: ExecStdin | undefined;

  constructor(
    start: (request: ExecRequest) => Promise<GuestProcess>,
    command: string | readonly string[],
    options: ExecOptions<'utf8' | 'buffer'>,
  ) {
    this.#options = options;
    this.#process = this.#start(start, command);
    this.#process.catch(() => {});
    const outputBytesMax = options.maxOutputBytes ?? OUTPUT_BYTES_MAX;
    this.stdout = new OutputStream(
      this.#process.then((process) => process.stdout),
      outputBytesMax,
    );
    this.stderr = new OutputStream(
      this.#process.then((process) => process.stderr),
      outputBytesMax,
    );
    this.#exit = this.#follow();
    this.#exit.catch(() => {});
  }

  /** What the command reads. Touch it at once, or give `stdin: 'pipe'`. */
  get stdin(): ExecStdin {
    this.#stdin ??= new ExecStdin(this.#process);
    return this.#stdin;
  }

  /** Resolves when the command has begun. */
  get started(): Promise<void> {
    return this.#process.then(() => {});
  }

  /** Sends `signal` to the command's process group. */
  async kill(signal = 'SIGTERM'): Promise<void> {
    await (await this.#process).kill(signal);
  }

  /** New size of the command's terminal. */
  async resize(columns: number, rows: number): Promise<void> {
    (await this.#process).resize({ columns, rows });
  }

  // biome-ignore lint/suspicious/noThenProperty: being awaited is what this class is for.
  then<A = ExecResult<T>, B = never>(
    onFulfilled?: ((result: ExecResult<T>) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#result ??= this.#collect();
    return this.#result.then(onFulfilled, onRejected);
  }

  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<ExecResult<T> | B> {
    return this.then(undefined, onRejected);
  }

  finally(onFinally?: (() => void) | null): Promise<ExecResult<T>> {
    return this.then().finally(onFinally);
  }

  async #start(
    start: (request: ExecRequest) => Promise<GuestProcess>,
    command: string | readonly string[],
  ): Promise<GuestProcess> {
    if (this.#options.signal?.aborted) throw aborted();
    // One turn of the loop, so that a caller can touch `.stdin` before it is decided that nobody writes.
    await new Promise(setImmediate);
    const { stdin } = this.#options;
    const process = await start(execRequest(command, this.#options, stdin !== undefined || this.#stdin !== undefined));
    if (stdin !== undefined && stdin !== 'pipe') void feed(process, stdin);
    return process;
  }

  async #follow(): Promise<ExitStatus> {
    const process = await this.#process;
    const { signal } = this.#options;
    if (signal === undefined) return process.exit;
    const { promise: abort, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => {
      void process.kill('SIGKILL').catch(() => {});
      reject(aborted());
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([process.exit, abort]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #collect(): Promise<ExecResult<T>> {
    try {
      const [status, stdout, stderr] = await Promise.all([this.#exit, this.stdout.collect(), this.stderr.collect()]);
      return { ...status, stdout: this.#decode(stdout), stderr: this.#decode(stderr) };
    } catch (error) {
      // Its output can no longer be kept, so it must not go on printing.
      void this.kill('SIGKILL').catch(() => {});
      throw error;
    }
  }

  #decode(bytes: Buffer): T {
    return (this.#options.encoding === 'buffer' ? bytes : bytes.toString()) as T;
  }
}

/** The writing end of a command's stdin. */
export class ExecStdin {
  readonly #process: Promise<GuestProcess>;

  constructor(process: Promise<GuestProcess>) {
    this.#process = process;
  }

  /** Resolves when the guest has room for more. Writing to a command that has ended does nothing. */
  async write(data: string | Uint8Array): Promise<void> {
    await (await this.#process).stdin.write(toBytes(data));
  }

  /** The command's next read past what was written gives end of file. */
  async end(data?: string | Uint8Array): Promise<void> {
    const { stdin } = await this.#process;
    if (data !== undefined) await stdin.write(toBytes(data));
    stdin.end();
  }
}

function execRequest(command: string | readonly string[], options: ExecOptions<'utf8' | 'buffer'>, stdin: boolean): ExecRequest {
  const { cwd, env, user, tty, timeoutMs, detached } = options;
  return {
    command: typeof command === 'string' ? command : [...command],
    stdin,
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env: { ...env } }),
    ...(user === undefined ? {} : { user }),
    ...(tty === undefined || tty === false ? {} : { tty: tty === true ? { columns: 80, rows: 24 } : tty }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(detached === undefined ? {} : { detached }),
  };
}

async function feed(process: GuestProcess, input: ExecInput): Promise<void> {
  try {
    if (typeof input === 'string' || input instanceof Uint8Array) await process.stdin.write(toBytes(input));
    else for await (const chunk of input) await process.stdin.write(toBytes(chunk));
  } catch {
    // The command ended before its input did, or the caller's source failed: either way there is no more to read.
  }
  process.stdin.end();
}

function toBytes(data: string | Uint8Array): Uint8Array {
  return typeof data === 'string' ? Buffer.from(data) : data;
}

function aborted(): ShoalError {
  return new ShoalError('aborted', 'The command was aborted by its caller.');
}
