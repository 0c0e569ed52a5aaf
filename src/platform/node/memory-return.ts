/**
 * madvise for the arena, through koffi: the only native code of the memory manager.
 *
 * koffi and not `node:ffi`: both take about 1 µs a call, but `node:ffi` of Node 26 prints a warning that it is
 * experimental and may change. Where koffi has no binary or there is no madvise, nothing is returned and all else works.
 */
import { createRequire } from 'node:module';

const MADV_DONTNEED = 4;
const MADV_NOHUGEPAGE = 15;

type Madvise = (address: bigint, length: number, advice: number) => number;
interface Koffi {
  load(path: string | null): { func(prototype: string): Madvise };
  address(value: unknown): bigint;
}

interface NativeMemory {
  readonly madvise: Madvise;
  readonly addressOf: (memory: WebAssembly.Memory) => bigint;
}

let loaded: NativeMemory | null | undefined;

function native(): NativeMemory | null {
  if (loaded !== undefined) return loaded;
  loaded = null;
  if (process.platform !== 'linux') return null;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    const madvise = koffi.load(null).func('int madvise(uintptr_t address, size_t length, int advice)');
    const bases = new WeakMap<WebAssembly.Memory, bigint>();
    const addressOf = (memory: WebAssembly.Memory): bigint => {
      let base = bases.get(memory);
      if (base === undefined) {
        base = koffi.address(new Uint8Array(memory.buffer));
        bases.set(memory, base);
      }
      return base;
    };
    loaded = { madvise, addressOf };
  } catch {
    // No binary for this machine: memory stays with the process until it ends.
  }
  return loaded;
}

export const canReturnMemory = (): boolean => native() !== null;

/** The arena's address in the process, or null where it cannot be told. */
export const arenaBase = (memory: WebAssembly.Memory): bigint | null => native()?.addressOf(memory) ?? null;

export function returnMemory(memory: WebAssembly.Memory, address: number, length: number): boolean {
  const os = native();
  return os !== null && os.madvise(os.addressOf(memory) + BigInt(address), length, MADV_DONTNEED) === 0;
}

export function avoidHugePages(memory: WebAssembly.Memory): void {
  const os = native();
  if (os) os.madvise(os.addressOf(memory), memory.buffer.byteLength, MADV_NOHUGEPAGE);
}
