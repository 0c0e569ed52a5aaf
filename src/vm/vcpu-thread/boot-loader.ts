/**
 * Puts a kernel, an initramfs and a device tree into a guest's memory, a step at a time: files come from the I/O thread, and pages
 * may have to wait for memory. Kernel and initramfs are mapped, not copied: all guests that boot the same file share its frames until
 * they write them.
 */
import { randomBytes } from 'node:crypto';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { imagePageCount, type PageCache, type SharedImage } from '../../disk/index.ts';
import type { GuestMemory } from '../../guest-memory/index.ts';
import { machineDeviceTree } from '../boot/device-tree.ts';
import { type BootPlan, planBoot } from '../boot/kernel-image.ts';
import type { MachineSpec } from './messages.ts';

const RNG_SEED_BYTES = 64;
/** Pages that are loaded at once, then mapped: a short pool gives such pages up again as long as nobody maps them. */
const WINDOW_PAGES = 1024;

export type LoadStep = 'loading' | 'no-memory' | 'done';

export class BootLoader {
  readonly plan: BootPlan;
  readonly #spec: MachineSpec;
  readonly #cache: PageCache;
  readonly #memory: GuestMemory;
  readonly #deviceTree: Uint8Array;
  /** What is to be mapped, and how much of it is. */
  readonly #pending: { readonly image: SharedImage; readonly address: number; pages: number }[];

  /** @throws ShoalError `bad-argument` when the guest's RAM is too small. */
  constructor(spec: MachineSpec, cache: PageCache, memory: GuestMemory) {
    this.#spec = spec;
    this.#cache = cache;
    this.#memory = memory;
    const initrdBytes = spec.initrd?.bytes ?? 0;
    // The tree's length does not depend on the addresses in it, so a first one tells how much room it needs.
    const draft = planBoot(Number.MAX_SAFE_INTEGER, spec.kernelImageSize, initrdBytes, 0);
    this.#deviceTree = this.#tree(draft, initrdBytes);
    this.plan = planBoot(spec.memoryBytes, spec.kernelImageSize, initrdBytes, this.#deviceTree.length);
    this.#pending = [{ image: spec.kernel, address: this.plan.kernelAddress, pages: 0 }];
    if (spec.initrd) this.#pending.push({ image: spec.initrd, address: this.plan.initrdAddress, pages: 0 });
  }

  /** Goes on as far as it can. */
  step(): LoadStep {
    for (let next = this.#pending[0]; next; next = this.#pending[0]) {
      const count = Math.min(WINDOW_PAGES, imagePageCount(next.image) - next.pages);
      const frames = this.#cache.load(next.image, next.pages, count);
      if (typeof frames === 'string') return frames;
      if (this.#memory.mapFileBacked(next.address + next.pages * PAGE_SIZE, frames) !== 'ok') return 'no-memory';
      next.pages += count;
      if (next.pages === imagePageCount(next.image)) this.#pending.shift();
    }
    return this.#memory.write(this.plan.deviceTreeAddress, this.#deviceTree) === 'ok' ? 'done' : 'no-memory';
  }

  #tree(plan: BootPlan, initrdBytes: number): Uint8Array {
    return machineDeviceTree({
      memoryBytes: this.#spec.memoryBytes,
      commandLine: this.#spec.commandLine,
      ...(initrdBytes > 0 && { initrd: { start: plan.initrdAddress, end: plan.initrdAddress + initrdBytes } }),
      rngSeed: randomBytes(RNG_SEED_BYTES),
    });
  }
}
