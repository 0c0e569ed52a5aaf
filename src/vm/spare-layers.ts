/**
 * Writable layers: empty ones for whoever needs one at once. Making a file takes longer than the rest of what the main thread does for a fork, so two of
 * each size that was asked for are made beforehand.
 */
import { tmpdir } from 'node:os';
import { createLayer, type LayerFile } from '../disk/index.ts';

/** Of each size: a fork takes one for the parent and one for the child. */
const SPARES = 2;

export class SpareLayers {
  readonly #spares = new Map<number, LayerFile[]>();
  #refilling: NodeJS.Immediate | undefined;

  /** An empty layer for a disk of `bytes` bytes. It has no name, so a host that is killed leaves nothing behind. @throws ShoalError `no-space` */
  take(bytes: number): LayerFile {
    const spares = this.#spares.get(bytes) ?? [];
    this.#spares.set(bytes, spares);
    this.#refilling ??= setImmediate(() => this.#refill());
    return spares.pop() ?? createLayer(tmpdir(), bytes);
  }

  /** One that nothing was written to, and nobody has. */
  giveBack(layer: LayerFile): void {
    const spares = this.#spares.get(layer.bytes);
    if (spares && spares.length < SPARES) spares.push(layer);
    else layer.close();
  }

  release(): void {
    clearImmediate(this.#refilling);
    this.#refilling = undefined;
    for (const spares of this.#spares.values()) for (const layer of spares) layer.close();
    this.#spares.clear();
  }

  #refill(): void {
    this.#refilling = undefined;
    try {
      for (const [bytes, spares] of this.#spares) while (spares.length < SPARES) spares.push(createLayer(tmpdir(), bytes));
    } catch {
      // Who needs one is told.
    }
  }
}
