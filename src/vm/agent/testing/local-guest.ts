/**
 * A guest that is not one: it understands what the agent client sends, and runs the code with this machine's own shell.
 * Only for tests of the client; that the real agent does the same is tested end to end.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { PassThrough } from 'node:stream';
import type { PortChannel, VmConfig, VmHandle, VmState } from '../../types.ts';

class LocalPort implements PortChannel {
  /** What the host wrote, what the guest wrote. */
  readonly toGuest = new PassThrough();
  readonly toHost = new PassThrough();
  closed = false;

  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.toGuest.write(data, (error) => (error ? reject(error) : resolve()));
    });
  }

  end(): void {
    this.toGuest.end();
  }

  read(): AsyncIterableIterator<Uint8Array> {
    return this.toHost[Symbol.asyncIterator]() as AsyncIterableIterator<Uint8Array>;
  }

  close(): void {
    this.closed = true;
  }
}

export class LocalGuest {
  /** What the client sent over the control port, in order. */
  readonly sent: string[] = [];
  /** Ports that are open now; the client must give each back. */
  readonly open = new Map<number, LocalPort>();
  portsOpenedMax = 0;
  private readonly end = Promise.withResolvers<VmState>();
  private readonly children = new Map<number, ChildProcess>();

  readonly vm = {
    config: { name: 'local' } as VmConfig,
    state: 'running',
    ended: this.end.promise,
    openPort: (index: number) => this.openPort(index),
    consoleLog: () => new Uint8Array(0),
  } as unknown as VmHandle;

  /** Says something that the client did not ask for. */
  say(line: string): void {
    this.open.get(1)?.toHost.write(`${line}\n`);
  }

  /** The machine is gone, without a word. */
  die(): void {
    for (const child of this.children.values()) child.kill('SIGKILL');
    this.end.resolve('failed');
  }

  get openDataPorts(): number {
    return [...this.open].filter(([index, port]) => index > 1 && !port.closed).length;
  }

  private async openPort(index: number): Promise<PortChannel> {
    const port = new LocalPort();
    this.open.set(index, port);
    this.portsOpenedMax = Math.max(this.portsOpenedMax, this.openDataPorts);
    if (index === 1) {
      port.toGuest.on('data', (code: Buffer) => this.obey(code.toString()));
      port.toHost.write('hello 1\n');
    }
    return port;
  }

  private obey(code: string): void {
    this.sent.push(code.trimEnd());
    const run = /^run (\d+) (\d+) (\d+) (\d+) ('[\s\S]*')\n$/.exec(code);
    const signal = /^'?(?:signal|signal_session)'? (\S+) (\d+)\n$/.exec(code);
    if (code === '. /lib/shoal/commands\n') this.say('ready');
    else if (run !== null) this.run(run[1] as string, run.slice(2, 5).map(Number) as [number, number, number], run[5] as string);
    else if (signal !== null) process.kill(-Number(signal[2]), `SIG${signal[1]}` as NodeJS.Signals);
  }

  private run(id: string, [output, error, input]: [number, number, number], word: string): void {
    // The outer shell takes the quotes off, as the agent's does.
    const child = spawn('/bin/sh', ['-c', `exec /bin/sh -c ${word}`], {
      detached: true,
      stdio: [input === 0 ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    this.children.set(Number(id), child);
    const [from, out, err] = [this.open.get(input), this.open.get(output), this.open.get(error)] as [
      LocalPort,
      LocalPort,
      LocalPort,
    ];
    if (input !== 0) {
      from.toGuest.pipe(child.stdin as NodeJS.WritableStream);
      child.stdin?.on('error', () => {});
      child.on('close', () => from.toHost.end());
    }
    child.stdout?.pipe(out.toHost);
    child.stderr?.pipe(err.toHost);
    child.on('spawn', () => this.say(`started ${id} ${child.pid}`));
    child.on('exit', (code, name) => this.say(`exit ${id} ${code ?? 128 + ({ SIGKILL: 9, SIGTERM: 15 }[name as string] ?? 1)}`));
  }
}
