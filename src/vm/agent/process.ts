/**
 * One process in a guest, as the host sees it: its streams, its end, signals to it. Made by `AgentClient.exec`.
 *
 * Each stream is a port of its own: what is not read here waits in the guest's queue and stalls this process alone.
 */
import { ShoalError } from '../../base/errors.ts';
import type { PortChannel } from '../types.ts';
import { Liveness } from './liveness.ts';
import { encodeTerminalInput, encodeWindowSize, TelnetDecoder } from './telnet.ts';

/** Names by number (Linux, asm-generic/signal.h), without SIG; the host's own numbers may differ. */
const SIGNALS =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'.split(
    ' ',
  );

export interface ExitStatus {
  /** As a shell reports it: 128 + n after signal n, 127 command not found, 126 not executable. */
  readonly exitCode: number;
  /** Name of the signal that `exitCode` stands for, such as `SIGKILL`, else null. */
  readonly signal: string | null;
  /** True when `timeoutMs` passed and the process group was killed for it. */
  readonly timedOut: boolean;
}

export function exitStatus(exitCode: number, timedOut: boolean): ExitStatus {
  const name = SIGNALS[exitCode - 129];
  return { exitCode, signal: name === undefined ? null : `SIG${name}`, timedOut };
}

/** The name as the guest's `kill -s` wants it. */
function signalName(signal: string): string {
  const name = signal.toUpperCase().replace(/^SIG/, '');
  if (SIGNALS.includes(name)) return name;
  throw new ShoalError('bad-argument', `"${signal}" is not a signal; use a name such as SIGTERM.`);
}

/** Standard output or error: bytes in order, once. Leaving the loop early discards the rest, so the process can go on. */
export class ProcessOutput implements AsyncIterable<Uint8Array> {
  /** Resolves when the guest has closed the stream, or is gone. */
  readonly ended: Promise<void>;
  private readonly source: AsyncIterator<Uint8Array>;
  private readonly liveness: Liveness;
  private readonly decoder: TelnetDecoder | undefined;
  private markEnded: () => void = () => {};

  constructor(channel: PortChannel, liveness: Liveness, decoder?: TelnetDecoder) {
    this.source = channel.read();
    this.liveness = liveness;
    this.decoder = decoder;
    this.ended = new Promise((resolve) => {
      this.markEnded = resolve;
    });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    let drained = false;
    try {
      for (;;) {
        const result = await this.next();
        drained = result === undefined;
        if (result === undefined) return;
        if (result.length > 0) yield result;
      }
    } finally {
      if (!drained) void this.discard();
    }
  }

  /** Reads on and forgets, so that the process is not stalled. Resolves at the end of the stream; never rejects. */
  async discard(): Promise<void> {
    try {
      while ((await this.next()) !== undefined);
    } catch {
      // The guest is gone: whoever asks for more is told by `next`.
    }
  }

  private async next(): Promise<Uint8Array | undefined> {
    try {
      const { done, value } = await this.liveness.guard(this.source.next());
      if (!done) return this.decoder?.decode(value) ?? value;
    } catch (error) {
      this.markEnded();
      throw error;
    }
    this.markEnded();
    return undefined;
  }
}

/** Standard input. Without one (the default) the process reads from /dev/null, and a write here is refused. */
export class ProcessInput {
  private readonly channel: PortChannel | undefined;
  private readonly liveness: Liveness;
  private readonly tty: boolean;
  private finished = false;

  constructor(channel: PortChannel | undefined, liveness: Liveness, tty: boolean) {
    this.channel = channel;
    this.liveness = liveness;
    this.tty = tty;
  }

  /** Resolves when the guest has taken the bytes; rejects with `wrong-state` when the process has ended or has no input. */
  async write(data: Uint8Array): Promise<void> {
    if (this.channel === undefined || this.finished)
      throw new ShoalError('wrong-state', 'This process has no open standard input.');
    try {
      await this.liveness.guard(this.channel.write(this.tty ? encodeTerminalInput(data) : data));
    } catch (error) {
      // The guest closed the port: its process may have ended without our knowing yet. If the guest itself is gone, `exit` says so.
      if (this.liveness.failure !== undefined) throw this.liveness.failure;
      throw new ShoalError('wrong-state', 'The process reads no more input.', { cause: error });
    }
  }

  /** End of input. On a terminal this types Ctrl-D, as closing would hang up. */
  end(): void {
    if (this.finished || this.channel === undefined) return;
    this.finished = true;
    if (this.tty) this.channel.write(Uint8Array.of(4)).catch(() => {});
    else this.channel.end();
  }
}

/** How a process reaches its agent. */
export interface ProcessLink {
  readonly signal: (name: string) => Promise<void>;
}

export interface ProcessPorts {
  readonly output: PortChannel;
  /** Undefined on a terminal, which has one stream for both. */
  readonly error: PortChannel | undefined;
  readonly input: PortChannel | undefined;
  readonly tty: boolean;
}

export class AgentProcess {
  /** Process id in the guest; also the id of its process group. */
  readonly pid: number;
  readonly stdin: ProcessInput;
  readonly stdout: ProcessOutput;
  /** Always empty on a terminal. */
  readonly stderr: AsyncIterable<Uint8Array> & { readonly ended: Promise<void>; discard(): Promise<void> };
  /** Resolves when the process itself has ended; its streams may have more to read. Rejects when the guest is gone. */
  readonly exit: Promise<ExitStatus>;
  private readonly terminal: PortChannel | undefined;
  private readonly link: ProcessLink;

  constructor(pid: number, ports: ProcessPorts, exit: Promise<ExitStatus>, guest: Liveness, link: ProcessLink) {
    this.pid = pid;
    this.exit = exit;
    this.link = link;
    const self = new Liveness();
    exit.then(
      () => self.fail(new ShoalError('wrong-state', 'The process has ended; it reads no more input.')),
      (error: Error) => self.fail(error),
    );
    this.terminal = ports.tty ? ports.output : undefined;
    this.stdin = new ProcessInput(ports.tty ? ports.output : ports.input, self, ports.tty);
    this.stdout = new ProcessOutput(ports.output, guest, ports.tty ? new TelnetDecoder() : undefined);
    this.stderr = ports.error === undefined ? noOutput : new ProcessOutput(ports.error, guest);
  }

  /** Sends a signal to the whole process group. */
  async kill(signal = 'SIGTERM'): Promise<void> {
    await this.link.signal(signalName(signal));
  }

  /** New size of the terminal, in characters; nothing without one. */
  resize(columns: number, rows: number): void {
    this.terminal?.write(encodeWindowSize(columns, rows)).catch(() => {});
  }
}

const noOutput = {
  ended: Promise.resolve(),
  discard: (): Promise<void> => Promise.resolve(),
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {},
};
