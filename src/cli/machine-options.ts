/** The options that say what machine to make, shared by `run` and `create`. */
import type { Command, OptionValues } from '@commander-js/extra-typings';
import type { CreateOptions } from '../host/index.ts';
import { type LimitFlags, limitOptions, withLimitOptions } from './limit-options.ts';
import { listOption, sizeOption } from './options.ts';

export interface MachineFlags extends LimitFlags {
  memory?: number;
  name?: string;
  kernel?: string;
  initrd?: string;
  append?: string;
  disk?: string[];
  domain?: string;
  cold?: true;
}

/** Adds them to `command`. */
// Its return type is what the options make of it.
// biome-ignore lint/suspicious/noExplicitAny: commander's own bound for arguments.
export function withMachineOptions<A extends any[], O extends OptionValues>(command: Command<A, O>) {
  const machine = command
    .option('-m, --memory <size>', 'promised memory, such as 256M or 1G', sizeOption)
    .option('--name <name>', 'name of the machine')
    .option('--kernel <file>', 'a riscv64 Linux Image of your own instead of an image')
    .option('--initrd <file>', 'its initramfs')
    .option('--append <words>', 'kernel parameters')
    .option('--disk <file[:rw]>', 'a disk image; with :rw writes go to a layer that ends with the machine', listOption)
    .option('--cold', 'boot, and do not start from a snapshot of the booted image')
    .option('--domain <name>', 'machines of different domains never share memory');
  return withLimitOptions(machine);
}

export function createOptions(image: string | undefined, flags: MachineFlags): CreateOptions {
  return {
    ...(image === undefined ? {} : { image }),
    ...(flags.memory === undefined ? {} : { memory: flags.memory }),
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.kernel === undefined ? {} : { kernel: flags.kernel }),
    ...(flags.initrd === undefined ? {} : { initrd: flags.initrd }),
    ...(flags.append === undefined ? {} : { commandLine: flags.append }),
    ...(flags.disk === undefined ? {} : { disks: flags.disk.map(parseDisk) }),
    ...(flags.domain === undefined ? {} : { domain: flags.domain }),
    ...(flags.cold === undefined ? {} : { cold: flags.cold }),
    ...limitOptions(flags),
  };
}

function parseDisk(text: string): { image: string; writable: boolean } {
  return text.endsWith(':rw') ? { image: text.slice(0, -3), writable: true } : { image: text, writable: false };
}
