/** Forks as the main thread sees them: orders under way on vCPU threads, and what becomes of the disks. */
import type { LayerFile } from '../disk/index.ts';
import { withTops } from './disk-stack.ts';
import { createRequestQueue } from './request-queue.ts';
import type { SpareLayers } from './spare-layers.ts';
import type { DiskSpec, ForkOrder, FromThread, MachineSpec } from './vcpu-thread/messages.ts';

type ForkedMessage = Extract<FromThread, { kind: 'forked' }>;
export type ForkAnswer = ForkedMessage['result'];

/** Orders that wait for their answer. */
export class ForkOrders<Thread> {
  readonly #waiting = new Map<number, { readonly thread: Thread; resolve(answer: ForkAnswer): void }>();
  #next = 1;

  /** `send` hands the order to that thread. */
  order(thread: Thread, order: Omit<ForkOrder, 'fork'>, send: (order: ForkOrder) => void): Promise<ForkAnswer> {
    const fork = this.#next++;
    return new Promise((resolve) => {
      this.#waiting.set(fork, { thread, resolve });
      send({ fork, ...order });
    });
  }

  onMessage({ fork, result }: ForkedMessage): void {
    this.#waiting.get(fork)?.resolve(result);
    this.#waiting.delete(fork);
  }

  onThreadLost(lost: Thread, reason: string): void {
    for (const [fork, { thread, resolve }] of this.#waiting) {
      if (thread !== lost) continue;
      this.#waiting.delete(fork);
      resolve({ error: { code: 'guest-fault', message: `The machine was not forked: ${reason}.` }, sealed: [] });
    }
  }
}

/** What a machine is made of, and all layers that its disks have, sealed ones too. */
export interface MachineParts {
  spec: MachineSpec;
  readonly layers: LayerFile[];
}

type Tops = readonly (LayerFile | null)[];

/** An empty layer for each writable disk. @throws ShoalError `no-space` */
export function newTops(disks: readonly DiskSpec[], spares: SpareLayers): Tops {
  const tops: (LayerFile | null)[] = [];
  try {
    for (const { image, layer } of disks) tops.push(layer ? spares.take(image.bytes) : null);
  } catch (error) {
    giveBackTops(tops, spares);
    throw error;
  }
  return tops;
}

export function giveBackTops(tops: Tops, spares: SpareLayers): void {
  for (const top of tops) if (top) spares.giveBack(top);
}

/** Layers that were sealed have these on top from here on; the others need none. */
export function sealDisks(parent: MachineParts, sealed: readonly boolean[], tops: Tops, spares: SpareLayers): void {
  parent.spec = { ...parent.spec, disks: withTops(parent.spec.disks, sealed, tops) };
  for (const [index, top] of tops.entries()) {
    if (!top) continue;
    if (sealed[index]) parent.layers.push(top);
    else spares.giveBack(top);
  }
}

/** A child of this machine, whose layers are sealed or empty: the same, with these on top. */
export function childParts(parent: MachineParts, vm: number, tops: Tops): MachineParts {
  const layers: LayerFile[] = [];
  const disks = parent.spec.disks.map((disk, index): DiskSpec => {
    const top = tops[index];
    if (!top) return disk;
    const below = (disk.below ?? []) as readonly LayerFile[];
    layers.push(top, ...below.map((layer) => layer.share()));
    return { ...disk, layer: top, below };
  });
  return { spec: { ...parent.spec, vm, disks, requests: createRequestQueue() }, layers };
}

/** All results, or the first failure once those that were there are undone. */
export async function allOrNone<T>(work: readonly Promise<T>[], undo: (result: T) => Promise<void>): Promise<T[]> {
  try {
    return await Promise.all(work);
  } catch (error) {
    for (const result of await Promise.allSettled(work)) if (result.status === 'fulfilled') await undo(result.value);
    throw error;
  }
}
