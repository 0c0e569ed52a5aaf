/**
 * Sealed layers that nobody else has any more become one. Every save and fork of a machine that writes its disks seals a layer; once the copies are
 * gone, a page would be looked for in each of them, and each is an open file.
 *
 *   two sealed layers of one disk, neighbours, that only this machine has → their pages are in the lower one (the snapshot thread)
 *     → the machine's thread reads the upper one no more → it is closed
 */
import type { LayerFile } from '../disk/index.ts';
import { withoutLayer } from './disk-stack.ts';
import type { MachineParts } from './forks.ts';

interface Pair<Machine> {
  readonly parts: Machine;
  readonly disk: number;
  readonly upper: LayerFile;
  readonly lower: LayerFile;
}

export interface MergeMeans<Machine> {
  /** The machines that there are. */
  machines(): Iterable<Machine>;
  /** As `mergeLayers`. Rejected: the upper one has to stay. */
  merge(upper: LayerFile, lower: LayerFile, start: number): Promise<number | null>;
  /** Has the machine's thread use the upper one no more; `dropped` is called then. */
  drop(parts: Machine, disk: number, upper: LayerFile): void;
}

export class LayerMerges<Machine extends MachineParts> {
  readonly #means: MergeMeans<Machine>;
  /** Pages could not be copied: not tried again. */
  readonly #failed = new WeakSet<LayerFile>();
  #isCopying = false;
  /** All its pages are in the lower one, and its machine's thread is told. */
  #dropping: Pair<Machine> | null = null;

  constructor(means: MergeMeans<Machine>) {
    this.#means = means;
  }

  /** A machine has gone: there may be something to merge. One pair at a time. */
  look(): void {
    if (this.#dropping && !this.#isThere(this.#dropping)) this.#dropping = null;
    if (this.#isCopying || this.#dropping) return;
    const pair = this.#find();
    if (!pair) return;
    this.#isCopying = true;
    void this.#copy(pair).then((copied) => {
      this.#isCopying = false;
      if (!copied) this.#failed.add(pair.upper);
      else if (this.#isThere(pair)) {
        this.#dropping = pair;
        this.#means.drop(pair.parts, pair.disk, pair.upper);
      }
      this.look();
    });
  }

  /** The machine's thread uses the layer no more. */
  dropped(): void {
    const pair = this.#dropping;
    this.#dropping = null;
    if (pair && this.#isThere(pair)) {
      const { parts, disk, upper } = pair;
      parts.spec = { ...parts.spec, disks: withoutLayer(parts.spec.disks, disk, upper.file) };
      parts.layers.splice(parts.layers.indexOf(upper), 1);
      upper.close();
    }
    this.look();
  }

  #isThere({ parts }: Pair<Machine>): boolean {
    return [...this.#means.machines()].includes(parts);
  }

  /** The machine may go meanwhile, and its forks have both layers. */
  async #copy({ upper, lower }: Pair<Machine>): Promise<boolean> {
    const shares = [upper.share(), lower.share()];
    try {
      for (let start: number | null = 0; start !== null; ) start = await this.#means.merge(upper, lower, start);
      return true;
    } catch {
      return false;
    } finally {
      for (const layer of shares) layer.close();
    }
  }

  /** The lowest pair first: so each page is copied once. */
  #find(): Pair<Machine> | undefined {
    for (const parts of this.#means.machines()) {
      for (const [disk, { below = [] }] of parts.spec.disks.entries()) {
        const layers = below as readonly LayerFile[];
        for (let i = layers.length - 2; i >= 0; i--) {
          const [upper, lower] = [layers[i] as LayerFile, layers[i + 1] as LayerFile];
          if (!upper.isShared && !lower.isShared && !this.#failed.has(upper)) return { parts, disk, upper, lower };
        }
      }
    }
    return undefined;
  }
}
