/** For the tests of this folder: a codec whose output can be reckoned, a small pool, and a swap device that fills up on demand. */
import { HostMemory, type HostMemoryOptions } from '../host-memory/index.ts';
import { simulatedPlatform } from '../platform/simulated/index.ts';
import type { PageCodec } from './codec.ts';
import type { SwapDevice } from './swap-file.ts';

/** A page's compressed form is its bytes up to the last that is not zero. */
export function tailCodec(host: HostMemory): PageCodec {
  const { bytes } = host;
  return {
    compress: (frame, to, limit) => {
      let length = 4096;
      while (length > 1 && bytes[frame * 4096 + length - 1] === 0) length--;
      if (length > limit) return 0;
      bytes.copyWithin(to, frame * 4096, frame * 4096 + length);
      return length;
    },
    decompress: (from, length, frame) => {
      bytes.fill(0, frame * 4096 + length, (frame + 1) * 4096);
      bytes.copyWithin(frame * 4096, from, from + length);
      return true;
    },
  };
}

/** Fills the frame's first `length` bytes with what only this seed gives, none of them zero. */
export function fillFrame(host: HostMemory, frame: number, seed: number, length: number): void {
  host.kernels.zeroFrame(frame);
  for (let i = 0; i < length; i++) host.bytes[frame * 4096 + i] = 1 + ((seed * 31 + i * (1 + (seed % 7))) % 255);
}

/** Is that what the frame holds? */
export function holdsSeed(host: HostMemory, frame: number, seed: number, length: number): boolean {
  for (let i = 0; i < 4096; i++) {
    const expected = i < length ? 1 + ((seed * 31 + i * (1 + (seed % 7))) % 255) : 0;
    if (host.bytes[frame * 4096 + i] !== expected) return false;
  }
  return true;
}

export function storePool(options: Partial<HostMemoryOptions> = {}): HostMemory {
  return HostMemory.create({
    poolBytes: 4 * 2 ** 20,
    threadCount: 2,
    decodeCacheBytes: 4096,
    vmCountMax: 4,
    breakReserve: 0,
    emergencyReserve: 0,
    platform: simulatedPlatform,
    ...options,
  });
}

/** A disk in memory. */
export class TestDisk implements SwapDevice {
  readonly blocks = new Map<number, Uint8Array>();
  full = false;
  writes = 0;
  emptied = 0;

  write(block: number, pages: readonly Uint8Array[]): boolean {
    if (this.full) return false;
    this.writes++;
    for (const [i, page] of pages.entries()) this.blocks.set(block + i, page.slice());
    return true;
  }

  empty(): void {
    this.emptied++;
    this.blocks.clear();
  }

  read(block: number, page: Uint8Array): boolean {
    const bytes = this.blocks.get(block);
    if (bytes) page.set(bytes);
    return bytes !== undefined;
  }
}
