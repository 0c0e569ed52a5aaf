/**
 * `microsoft,vmgenid`: tells the guest that it is a copy. The kernel then mixes the new id, which is random, into its generator of random numbers, and
 * seeds that anew, before any program runs.
 *
 * The line is high from a change of the id until the guest has read the new one.
 */
import { randomFillSync } from 'node:crypto';
import type { Device, DeviceState, InterruptLine } from '../device.ts';
import { stateData } from '../state.ts';
import { ID_BYTES } from './registers.ts';
import { GENERATION_STATE_VERSION, type GenerationState } from './state.ts';

export class Generation implements Device {
  readonly name = 'generation';
  readonly #id = new Uint8Array(ID_BYTES);
  readonly #line: InterruptLine;
  #changed = false;

  constructor(line: InterruptLine) {
    this.#line = line;
    randomFillSync(this.#id);
  }

  /** The machine goes on as another one from here on. */
  renew(): void {
    randomFillSync(this.#id);
    this.#setChanged(true);
  }

  read(offset: number, size: number): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = (value << 8) | (offset + i < ID_BYTES ? this.#id[offset + i] : 0);
    if (this.#changed && offset < ID_BYTES && offset + size >= ID_BYTES) this.#setChanged(false);
    return value >>> 0;
  }

  write(): void {}

  reset(): void {
    this.#setChanged(false);
  }

  save(): DeviceState {
    const data: GenerationState = { id: [...this.#id], changed: this.#changed };
    return { name: this.name, version: GENERATION_STATE_VERSION, data };
  }

  restore(state: DeviceState): void {
    const data = stateData<GenerationState>(state, this.name, GENERATION_STATE_VERSION);
    this.#id.set(data.id);
    this.#setChanged(data.changed);
  }

  #setChanged(changed: boolean): void {
    this.#changed = changed;
    this.#line.set(changed);
  }
}
