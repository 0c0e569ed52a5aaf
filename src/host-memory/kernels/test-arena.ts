/** Small and whole arenas to try kernels in, and pages of every kind. For tests only. */
import { PAGE_SIZE } from '../../base/numbers.ts';
import { type PageKernels, pageKernels } from '../page-kernels.ts';

const WASM_PAGE = 65536;
/** Frames that a test may use: it names them 0 to 63, counted from `firstFrame`. */
const TEST_FRAMES = 64;

export interface TestArena {
  readonly name: string;
  readonly kernels: PageKernels;
  /** Frame number of the test's frame 0, and its address. */
  readonly firstFrame: number;
  readonly start: number;
  /** The bytes of all test frames, and of them only. */
  readonly bytes: Uint8Array;
}

/** An arena of `wasmPages` × 64 KiB; the test frames are its last, so that whatever goes beyond them traps, or wraps to address 0. */
function arenaOf(name: string, wasmPages: number): TestArena {
  const memory = new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages, shared: true });
  const start = wasmPages * WASM_PAGE - TEST_FRAMES * PAGE_SIZE;
  const bytes = new Uint8Array(memory.buffer, start, TEST_FRAMES * PAGE_SIZE);
  return { name, kernels: pageKernels(memory), firstFrame: start / PAGE_SIZE, start, bytes };
}

/** Half a MiB, and the 4 GiB whose last byte is at 2^32 − 1. Untouched memory costs nothing. */
export const testArenas = (): TestArena[] => [arenaOf('a small arena', 8), arenaOf('the end of 4 GiB', WASM_PAGE)];

export const frameBytes = (arena: TestArena, frame: number): Uint8Array =>
  arena.bytes.subarray(frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE);

/** A seeded generator (xorshift32), so that a failure can be had again. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Random bytes, runs, repeats and copies of what came before, in a mixture that `random` chooses. */
export function structuredPage(random: (below: number) => number): Uint8Array {
  const page = new Uint8Array(PAGE_SIZE);
  const values = [1, 4, 256][random(3)];
  let at = 0;
  while (at < PAGE_SIZE) {
    const end = Math.min(PAGE_SIZE, at + 1 + random([8, 40, 300, 4096][random(4)]));
    const kind = random(3);
    const back = 1 + random([20, 300, 4096][random(3)]);
    for (; at < end; at++) page[at] = kind === 0 ? random(values) : kind === 1 && at >= back ? page[at - back] : page[at];
  }
  return page;
}
