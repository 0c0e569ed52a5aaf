/**
 * The host's side of the guest agent (guest/agent): runs processes in a guest over its virtio-console ports.
 *
 * The agent is a shell that reads code from port 1; this module composes the code and keeps the books: who runs, on which
 * ports, who waits for an answer. It is not the public API (see `host/`), and one guest has one client at a time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ShoalError } from '../../base/errors.ts';
import type { VmHandle } from '../types.ts';
import { ControlChannel } from './control-channel.ts';
import { AgentFiles } from './files.ts';
import { Liveness } from './liveness.ts';
import { panicOf } from './panic.ts';
import { type Port, PortPool } from './port-pool.ts';
import { AgentProcess, type ExitStatus, exitStatus } from './process.ts';
import { type CommandOptions, composeCommand, quoteCode, type ShellCode, sh } from './shell-code.ts';

const CONTROL_PORT = 1;
const CONNECT_TIMEOUT_MS = 120_000;
/** A guest that ends closes its ports a moment before its machine says so. */
const ENDING_MS = 200;
/** Linux takes no longer argument (MAX_ARG_STRLEN), and the code is one; some bytes are for what the agent puts before it. */
const CODE_BYTES_MAX = 131_072 - 128;

/** Of all guests together: a fork's guest may still answer for what its parent's host asked. */
let lastId = 0;

export interface StreamOptions {
  /** True: `stdin.write` and `stdin.end` reach the process. Default: it reads from /dev/null. */
  readonly stdin?: boolean;
  /** Runs on a pseudo-terminal of this size, in characters; stdin, stdout and stderr are all the terminal. */
  readonly tty?: { readonly columns: number; readonly rows: number };
  /** After this time the whole process group gets SIGKILL. Milliseconds from its start. */
  readonly timeoutMs?: number;
  /** Aborting kills the process group, or stops waiting for a free port. */
  readonly signal?: AbortSignal;
}

export interface ExecOptions extends CommandOptions, StreamOptions {}

export interface ConnectOptions {
  /** How long to wait for the guest to boot, milliseconds; default two minutes. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** A process between `run` and its exit line. */
interface Running {
  readonly started: PromiseWithResolvers<number>;
  readonly exited: PromiseWithResolvers<number>;
}

export class AgentClient {
  /** Reading, writing and listing files in the guest. */
  readonly files: AgentFiles;
  private readonly vm: VmHandle;
  private readonly control: ControlChannel;
  private readonly ports: PortPool;
  private readonly liveness = new Liveness();
  private readonly ready = Promise.withResolvers<void>();
  private readonly ended = Promise.withResolvers<Error>();
  private readonly running = new Map<number, Running>();
  private greeted = false;

  private constructor(vm: VmHandle, control: ControlChannel) {
    this.vm = vm;
    this.control = control;
    this.ports = new PortPool(vm, vm.inheritedPorts);
    this.files = new AgentFiles(this);
    this.ready.promise.catch(() => {});
  }

  /**
   * Waits until the guest has booted and its agent answers.
   * Errors: `agent-unavailable` when the guest ends first, `timeout`, `aborted`.
   */
  static async connect(vm: VmHandle, options: ConnectOptions = {}): Promise<AgentClient> {
    const liveness = new Liveness();
    const timeoutMs = options.timeoutMs ?? CONNECT_TIMEOUT_MS;
    const late = (): void =>
      liveness.fail(
        new ShoalError(
          'timeout',
          `The agent of "${vm.config.name}" did not answer within ${timeoutMs} ms; see the guest's console log.`,
        ),
      );
    const timer = setTimeout(late, timeoutMs);
    const abort = (): void => liveness.fail(new ShoalError('aborted', 'Waiting for the guest was aborted.'));
    options.signal?.addEventListener('abort', abort);
    if (options.signal?.aborted) abort();
    void vm.ended.then((state) => liveness.fail(goneError(vm, state)));
    let client: AgentClient | undefined;
    try {
      client = new AgentClient(vm, new ControlChannel(await liveness.guard(vm.openPort(CONTROL_PORT))));
      void client.listen();
      if (vm.inheritedPorts) client.resume();
      await liveness.guard(client.ready.promise);
      return client;
    } catch (error) {
      client?.close();
      throw error;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
    }
  }

  /** Resolves with the reason when the agent is lost: the guest ended, was reset, or `close` was called. Connect again then. */
  get closed(): Promise<Error> {
    return this.ended.promise;
  }

  /**
   * Starts a process; resolves when it runs and its streams are attached. Waits when all ports are taken.
   * Read its output, or call `discard` on it: what is not read stalls the process.
   */
  async exec(command: string | readonly string[], options: ExecOptions = {}): Promise<AgentProcess> {
    return this.execCode(composeCommand(command, options), options);
  }

  /** The same for code that is composed already. */
  async execCode(code: ShellCode, options: StreamOptions = {}): Promise<AgentProcess> {
    if (code.length > CODE_BYTES_MAX) {
      throw new ShoalError(
        'bad-argument',
        `A command with its environment may have ${CODE_BYTES_MAX} bytes and this has ${code.length}; pass the rest by stdin or a file.`,
      );
    }
    const ports = await this.liveness.guard(this.ports.take(options.tty ? 1 : options.stdin ? 3 : 2, options.signal));
    const [output, error, input] = ports as [Port, Port?, Port?];
    const id = ++lastId;
    const running: Running = { started: Promise.withResolvers(), exited: Promise.withResolvers() };
    this.running.set(id, running);
    running.exited.promise.catch(() => {});
    try {
      const run =
        options.tty === undefined
          ? `run ${id} ${output.index} ${error?.index} ${input?.index ?? 0}`
          : `run_tty ${id} ${output.index} ${options.tty.rows} ${options.tty.columns}`;
      await this.liveness.guard(this.control.send(`${run} ${quoteCode(code)}` as ShellCode));
      const pid = await this.liveness.guard(running.started.promise);
      return this.attach(pid, running, ports, options);
    } catch (failure) {
      this.running.delete(id);
      for (const port of ports) this.ports.release(port);
      throw failure;
    }
  }

  /** Asks the guest to end its processes, make its file systems clean and power off. Wait for `vm.ended`. */
  async powerOff(): Promise<void> {
    await this.liveness.guard(this.control.send(sh`power_off`));
  }

  /** Lets go of the guest; what runs in it goes on, unheard. What a guest that has ended printed can be read still. */
  close(): void {
    this.fail(new ShoalError('agent-unavailable', 'The connection to the guest agent was closed.'));
    if (this.vm.state !== 'stopped' && this.vm.state !== 'failed') this.ports.closeAll();
    this.control.close();
  }

  private attach(pid: number, running: Running, ports: readonly Port[], options: StreamOptions): AgentProcess {
    let timedOut = false;
    const [output, error, input] = ports as [Port, Port?, Port?];
    const signal = async (name: string): Promise<void> => {
      const whom = options.tty !== undefined || name === 'KILL' ? sh`signal_session` : sh`signal`;
      await this.liveness.guard(this.control.send(`${whom} ${name} ${pid}` as ShellCode));
    };
    const killQuietly = (): void => void signal('KILL').catch(() => {});
    const late = (): void => {
      timedOut = true;
      killQuietly();
    };
    const timer = options.timeoutMs === undefined ? undefined : setTimeout(late, options.timeoutMs);
    options.signal?.addEventListener('abort', killQuietly);
    if (options.signal?.aborted) killQuietly();
    const exit: Promise<ExitStatus> = this.liveness
      .guard(running.exited.promise)
      .then((code) => exitStatus(code, timedOut))
      .finally(() => {
        clearTimeout(timer);
        options.signal?.removeEventListener('abort', killQuietly);
      });
    exit.catch(() => {});
    const process = new AgentProcess(
      pid,
      { output: output.channel, error: error?.channel, input: input?.channel, tty: options.tty !== undefined },
      exit,
      this.liveness,
      { signal },
    );
    void this.releaseWhenDone(process, input, ports, running);
    return process;
  }

  /** A port goes back only after the guest closed it, which a descendant that inherited it may do later than the process ends. */
  private async releaseWhenDone(
    process: AgentProcess,
    input: Port | undefined,
    ports: readonly Port[],
    running: Running,
  ): Promise<void> {
    await Promise.allSettled([running.exited.promise, process.stdout.ended, process.stderr.ended, input && guestCloses(input)]);
    for (const port of ports) this.ports.release(port);
  }

  private async listen(): Promise<void> {
    void this.vm.ended.then((state) => this.fail(goneError(this.vm, state)));
    try {
      for await (const line of this.control.lines()) this.answer(line);
      await Promise.race([this.vm.ended, sleep(ENDING_MS)]);
      this.fail(goneError(this.vm, 'its agent ended or it was reset'));
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  private answer(line: string): void {
    const [word, first, second] = line.split(' ');
    const running = this.running.get(Number(first));
    if (word === 'hello') this.greet(first);
    else if (word === 'ready') this.ready.resolve();
    else if (word === 'started') running?.started.resolve(Number(second));
    else if (word === 'exit') {
      this.running.delete(Number(first));
      running?.started.reject(
        new ShoalError('agent-unavailable', 'The guest could not start a process: its streams could not be opened.'),
      );
      running?.exited.resolve(Number(second));
    }
  }

  /** The agent of a fork has been greeted by the host of its parent, or not yet; in either case it knows its commands after this. */
  private resume(): void {
    this.control.send(sh`command -v run >/dev/null || . /lib/shoal/commands; echo ready`).catch(() => {});
  }

  private greet(version: string | undefined): void {
    if (this.greeted) {
      this.fail(new ShoalError('agent-unavailable', 'The guest agent started anew; what it ran is no longer known.'));
    } else if (version !== '1') {
      this.fail(
        new ShoalError(
          'agent-unavailable',
          `The guest agent speaks version ${version}, this host speaks 1; build the image anew.`,
        ),
      );
    }
    this.greeted = true;
    this.control.send(sh`. /lib/shoal/commands`).catch(() => {});
  }

  private fail(error: Error): void {
    this.liveness.fail(error);
    this.ready.reject(error);
    for (const { started, exited } of this.running.values()) {
      started.promise.catch(() => {});
      started.reject(error);
      exited.reject(error);
    }
    this.running.clear();
    // Whoever connects anew needs the port.
    this.control.close();
    this.ended.resolve(error);
  }
}

async function guestCloses(port: Port): Promise<void> {
  for await (const _ of port.channel.read());
}

const goneError = (vm: VmHandle, how: string): ShoalError =>
  new ShoalError(
    'agent-unavailable',
    `The guest "${vm.config.name}" is gone (${how}), and with it everything that ran in it${panicOf(vm)}.`,
  );
