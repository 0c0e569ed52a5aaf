/** qemu-system-riscv64 with what a machine of Shoal has: the same image, and devices of the same kinds. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { ResolvedImage } from '../src/images/index.ts';

export const QEMU = 'qemu-system-riscv64';

export type QemuProcess = ChildProcessByStdio<Writable, Readable, null>;

export interface QemuOptions {
  readonly memoryMib: number;
  /** QEMU's machine and properties of it. */
  readonly machine?: string;
}

/** Without a window, a monitor, and a second life after a power-off. */
export const qemuArguments = ({ memoryMib, machine = 'virt' }: QemuOptions): string[] => [
  ...['-M', machine, '-m', `${memoryMib}`],
  ...['-display', 'none', '-monitor', 'none', '-no-reboot'],
];

export function qemuImageArguments({ kernel, initrd, commandLine, disks }: ResolvedImage): string[] {
  return [
    ...['-global', 'virtio-mmio.force-legacy=false'],
    ...['-kernel', kernel, '-initrd', initrd, '-append', commandLine],
    ...['-serial', 'null', '-chardev', 'stdio,id=console', '-device', 'virtio-serial-device'],
    ...['-device', 'virtconsole,chardev=console'],
    ...disks.flatMap(({ image }, i) => [
      ...['-drive', `file=${image},format=raw,if=none,id=disk${i},snapshot=on`],
      ...['-device', `virtio-blk-device,drive=disk${i}`],
    ]),
    ...['-device', 'virtio-balloon-device,free-page-reporting=on', '-device', 'virtio-rng-device'],
  ];
}

/** A machine whose console (hvc0) is the process' standard input and output. */
export const startQemu = (image: ResolvedImage, options: QemuOptions): QemuProcess =>
  spawnQemu([...qemuArguments(options), ...qemuImageArguments(image)]);

const running = new Set<QemuProcess>();
// A machine without its benchmark would run for ever.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export function spawnQemu(args: readonly string[]): QemuProcess {
  const child = spawn(QEMU, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  running.add(child);
  child.once('exit', () => running.delete(child));
  // One that died is noticed by its output.
  child.stdin.on('error', () => {});
  return child;
}
