/**
 * Reads of swapped pages by one vCPU thread. They go through frames of the thread's scratch area, so that bringing bytes in needs no
 * memory of the pool; the page gets a frame of its VM's when they are there.
 */
import { PAGE_SIZE } from '../../base/numbers.ts';
import { type IoClient, KIND_READ } from '../../disk/index.ts';
import type { HostMemory } from '../../host-memory/index.ts';
import { SCRATCH_BYTES, SCRATCH_JOIN } from '../../layout/arena.ts';

export interface SwapReadsOptions {
  readonly host: HostMemory;
  readonly io: IoClient;
  readonly thread: number;
  /** The swap file's number. */
  readonly file: number;
}

export class SwapReads {
  readonly #options: SwapReadsOptions;
  readonly #free: number[] = [];
  /** Somebody found no frame. */
  #lacked = false;

  constructor(options: SwapReadsOptions) {
    this.#options = options;
    const first = (options.host.map.scratch + options.thread * SCRATCH_BYTES) / PAGE_SIZE;
    for (let frame = first; frame < first + SCRATCH_JOIN / PAGE_SIZE; frame++) this.#free.push(frame);
  }

  /** Frames that a read may have now. */
  get room(): number {
    return this.#free.length;
  }

  /** The thread's doorbell rings when there is room again. */
  ringWhenRoom(): void {
    this.#lacked = true;
  }

  /**
   * Reads `count` (at most `room`) consecutive blocks; `done` gets their frames, which are the caller's until it gives each back. They hold
   * anything when `ok` is false.
   */
  read(block: number, count: number, done: (ok: boolean, frames: readonly number[]) => void): void {
    const { host, io, file } = this.#options;
    const frames = this.#free.splice(-count);
    io.submit({
      kind: KIND_READ,
      file,
      offset: block * PAGE_SIZE,
      check: 0,
      segments: frames.map((frame) => new Uint8Array(host.memory.buffer, frame * PAGE_SIZE, PAGE_SIZE)),
      done: (ok) => done(ok, frames),
    });
  }

  giveBack(frame: number): void {
    this.#free.push(frame);
    if (!this.#lacked) return;
    this.#lacked = false;
    this.#options.host.ringDoorbell(this.#options.thread);
  }
}
