/**
 * A `VmHandle` whose machine is QEMU, so that the agent can be tested apart from Shoal's own machine. Only for tests: it
 * does what the agent client needs (ports, end), and refuses the rest.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PortChannel, VmConfig, VmEvent, VmHandle, VmMemory, VmState } from '../../types.ts';

const PORTS = 49;

/** Told when the guest has closed a port, with the time of it: milliseconds since 1970. */
type CloseListener = (timeMs: number) => void;

interface QmpEvent {
  readonly event?: string;
  readonly data?: { readonly id: string; readonly open: boolean };
  readonly timestamp?: { readonly seconds: number; readonly microseconds: number };
}

export class QemuVm implements VmHandle {
  readonly id = 'qemu';
  readonly config: VmConfig;
  state: VmState = 'running';
  readonly ended: Promise<VmState>;
  private readonly folder = mkdtempSync(join(tmpdir(), 'shoal-qemu-'));
  private readonly child: ChildProcess;
  private readonly closeListeners = new Map<string, CloseListener>();

  constructor(config: VmConfig) {
    this.config = config;
    const ports = Array.from({ length: PORTS }, (_, at) => at + 1).flatMap((port) => [
      '-chardev',
      `socket,id=c${port},path=${this.path(`p${port}`)},server=on,wait=off`,
      '-device',
      `virtserialport,nr=${port},chardev=c${port},id=port${port}`,
    ]);
    const disks = config.disks.flatMap((disk, at) => [
      '-drive',
      `file=${disk.image},format=raw,if=none,id=d${at},snapshot=on`,
      '-device',
      `virtio-blk-device,drive=d${at}`,
    ]);
    this.child = spawn(
      'qemu-system-riscv64',
      [
        ...['-M', 'virt', '-m', `${config.memoryBytes / 2 ** 20}`, '-display', 'none', '-monitor', 'none', '-no-reboot'],
        ...['-global', 'virtio-mmio.force-legacy=false', '-kernel', config.kernel, '-append', config.commandLine],
        ...(config.initrd === undefined ? [] : ['-initrd', config.initrd]),
        ...['-serial', `file:${this.path('uart')}`, '-qmp', `unix:${this.path('qmp')},server=on,wait=off`],
        ...['-device', 'virtio-serial-device,max_ports=64', '-chardev', `file,id=h0,path=${this.path('hvc0')}`],
        ...['-device', 'virtconsole,nr=0,chardev=h0', '-device', 'virtio-rng-device', ...ports, ...disks],
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    this.ended = new Promise((resolve) => {
      this.child.on('exit', () => {
        this.state = 'stopped';
        rmSync(this.folder, { recursive: true, force: true });
        resolve(this.state);
      });
    });
  }

  /** Waits until QEMU listens, then follows which ports the guest opens and closes. */
  async start(): Promise<void> {
    const qmp = await this.connect('qmp');
    let rest = '';
    qmp.on('data', (chunk) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() as string;
      for (const line of lines) this.event(JSON.parse(line));
    });
    qmp.write('{"execute":"qmp_capabilities"}\n');
  }

  async openPort(index: number): Promise<PortChannel> {
    const openedMs = Date.now();
    const socket = await this.connect(`p${index}`);
    // QEMU gives one event per port and second, the latest; so a port may be seen to close that was never seen to open.
    // What the guest wrote before comes on another socket and may still be on its way.
    this.closeListeners.set(`port${index}`, (timeMs) => {
      if (timeMs > openedMs) setTimeout(() => socket.push(null), 50);
    });
    return new SocketChannel(socket);
  }

  kill(): Promise<void> {
    this.child.kill('SIGKILL');
    return this.ended.then(() => {});
  }

  consoleLog(): Uint8Array {
    return readFileSync(this.path('hvc0'));
  }

  pause = (): Promise<void> => refuse();
  resume = (): Promise<void> => refuse();
  reset = (): Promise<void> => refuse();
  memory = (): Promise<VmMemory> => refuse();
  resizeConsole(): void {}
  onEvent = (_listener: (event: VmEvent) => void): (() => void) => {
    return () => {};
  };

  private event({ event, data, timestamp }: QmpEvent): void {
    if (event !== 'VSERPORT_CHANGE' || data === undefined || timestamp === undefined || data.open) return;
    this.closeListeners.get(data.id)?.(timestamp.seconds * 1000 + timestamp.microseconds / 1000);
  }

  private async connect(name: string): Promise<Socket> {
    for (;;) {
      const socket = createConnection({ path: this.path(name), allowHalfOpen: true });
      const connected = await new Promise<boolean>((resolve) => {
        socket.once('connect', () => resolve(true));
        socket.once('error', () => resolve(false));
      });
      socket.on('error', () => {});
      if (connected) return socket;
      if (this.state !== 'running') throw new Error('QEMU ended');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  private path(name: string): string {
    return join(this.folder, name);
  }
}

const refuse = (): Promise<never> => Promise.reject(new Error('not for the test machine'));

class SocketChannel implements PortChannel {
  private readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.write(data, (error) => (error ? reject(error) : resolve()));
    });
  }

  end(): void {
    this.socket.end();
  }

  close(): void {
    this.socket.destroy();
  }

  async *read(): AsyncGenerator<Uint8Array, void> {
    try {
      yield* this.socket;
    } catch (error) {
      if (!this.socket.destroyed) throw error;
    }
  }
}
