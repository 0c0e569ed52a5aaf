/**
 * The system bus: which device answers at an address.
 *
 * It only routes. What a register means is the device's affair; RAM never comes here.
 */

import { assert } from '../base/assert.ts';
import type { MmioBus } from '../cpu/guest-pages.ts';
import type { Device } from './device.ts';

interface Region {
  readonly base: number;
  readonly end: number;
  readonly device: Device;
}

export class Bus implements MmioBus {
  readonly #regions: Region[] = [];
  /** The region that answered last: a driver talks to one device for a while. */
  #last: Region | undefined;

  /** Lets `device` answer at `base` … `base + size` − 1. Regions do not overlap. */
  attach(base: number, size: number, device: Device): void {
    const end = base + size;
    assert(
      this.#regions.every((region) => end <= region.base || base >= region.end),
      `two devices at one address: ${device.name}`,
    );
    this.#regions.push({ base, end, device });
  }

  read(address: number, size: number): number {
    const region = this.#find(address, size);
    if (region === undefined) return -1;
    return region.device.read(address - region.base, size) >>> 0;
  }

  write(address: number, size: number, value: number): boolean {
    const region = this.#find(address, size);
    if (region === undefined) return false;
    region.device.write(address - region.base, size, value >>> 0);
    return true;
  }

  #find(address: number, size: number): Region | undefined {
    if (address % size !== 0) return undefined;
    const last = this.#last;
    if (last !== undefined && address >= last.base && address < last.end) return last;
    for (const region of this.#regions) {
      if (address >= region.base && address < region.end) {
        this.#last = region;
        return region;
      }
    }
    return undefined;
  }
}
