/** What a machine is made of while it has memory, from start to power-off: made anew, or as a fork of another. */
import { ShoalError } from '../../base/errors.ts';
import { Hart, HartState } from '../../cpu/index.ts';
import { createMachineDevices, type MachineDevices } from '../../devices/machine.ts';
import { Disk } from '../../disk/index.ts';
import { adoptFork } from '../../guest-memory/fork.ts';
import { GuestMemory } from '../../guest-memory/index.ts';
import { powerOffSteps } from '../../guest-memory/life.ts';
import { restoreSteps } from '../../guest-memory/restore.ts';
import { RAM_BASE } from '../../layout/machine.ts';
import type { BootLoader } from './boot-loader.ts';
import { GuestBalloon } from './guest-balloon.ts';
import type { StoppableClock } from './guest-clock.ts';
import type { ThreadContext } from './machine.ts';
import { unpackState } from './machine-state.ts';
import type { MachineOrigin, MachineSpec, RestoredMemory } from './messages.ts';
import { MachinePages } from './page-source.ts';
import type { Ports } from './ports.ts';

/** A machine's memory and where its absent pages come from. */
export interface MemoryPart {
  readonly memory: GuestMemory;
  readonly pages: MachinePages;
}

export interface Body extends MemoryPart {
  readonly hart: Hart;
  readonly devices: MachineDevices;
  readonly disks: readonly Disk[];
  readonly balloon: GuestBalloon;
  loader: BootLoader | null;
}

/** A machine that has memory and has not been looked at yet: its hart and devices are still to be made. */
export interface Dormant {
  readonly part: MemoryPart;
  readonly origin: MachineOrigin;
}

/** What a body shares with the machine that has it. */
export interface BodyContext {
  readonly thread: ThreadContext;
  readonly spec: MachineSpec;
  readonly clock: StoppableClock;
  readonly ports: Ports;
  onSerial(byte: number): void;
  onLog(bytes: Uint8Array): void;
}

/** @throws ShoalError `no-memory` when the pool cannot be promised so much. */
export function buildMemory({ thread, spec }: Pick<BodyContext, 'thread' | 'spec'>, origin?: MachineOrigin): MemoryPart {
  const { host, cache } = thread;
  const pages = new MachinePages({
    host,
    thread: thread.index,
    cache,
    pages: thread.pages,
    images: [spec.kernel, spec.initrd, spec.snapshot, ...spec.disks.map((disk) => disk.image)].filter(
      (image) => image !== undefined,
    ),
    onUnreadable: (reason) => thread.send({ kind: 'unreadable', vm: spec.vm, reason }),
  });
  const memory =
    origin && 'vm' in origin.memory ? adoptFork(host, origin.memory, { source: pages }) : createMemory(thread, spec, pages);
  if (origin && 'stored' in origin.memory) restore(memory, spec, origin.memory);
  pages.attach(memory);
  if (origin && 'stored' in origin.memory) {
    const { prefetch, eager } = origin.memory;
    const brought = (problem: string | null): void => thread.send({ kind: 'brought', vm: spec.vm, problem });
    pages.prefetch(prefetch, eager ? brought : null);
  }
  return { memory, pages };
}

const createMemory = ({ host, index }: ThreadContext, { memoryBytes, domain }: MachineSpec, source: MachinePages): GuestMemory =>
  GuestMemory.create(host, { ranges: [{ address: RAM_BASE, bytes: memoryBytes }], domain, thread: index, source });

function restore(memory: GuestMemory, { snapshot }: MachineSpec, { stored, ballooned }: RestoredMemory): void {
  const { host } = memory;
  const pages = { stored: new Uint8Array(stored), ballooned: new Uint8Array(ballooned), firstHandle: snapshot?.firstNumber ?? 0 };
  if (host.run(restoreSteps(memory, pages))) return;
  host.run(powerOffSteps(memory));
  throw new ShoalError(
    'no-memory',
    'The pool has no room for the page tables of another machine; remove one, or open a larger pool.',
  );
}

export function buildBody(context: BodyContext, { memory, pages }: MemoryPart, origin?: MachineOrigin): Body {
  const { thread, spec, clock, ports } = context;
  const disks = spec.disks.map((disk) => new Disk({ cache: thread.cache, ...disk }));
  let hart: Hart | null = null;
  const devices = createMachineDevices({
    memory,
    setExternalInterrupt: (level) => hart?.setExternalInterrupt(level),
    onUartOutput: (byte) => context.onSerial(byte),
    console: {
      onOutput: (port, bytes) => ports.onOutput(port, bytes),
      onPortReady: (port, ready) => ports.onReady(port, ready),
      onGuestOpen: (port, open) => ports.onGuestOpen(port, open),
      onInputWanted: (port) => ports.onInputWanted(port),
    },
    disks,
  });
  hart = new Hart(thread.hartThread, new HartState(0), memory, devices.bus, {
    clock,
    console: { write: (bytes) => context.onLog(bytes), read: () => 0 },
  });
  if (origin) {
    const state = unpackState(origin.state);
    hart.state.restore(state.hart);
    devices.restore(state.devices);
    clock.set(state.guestMs);
    devices.generation.renew();
    ports.inherit(devices.console, state.ports);
  } else ports.attach(devices.console);
  return { memory, pages, hart, devices, disks, balloon: new GuestBalloon(memory, devices.balloon), loader: null };
}
