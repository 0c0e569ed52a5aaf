/**
 * One disk request on its way: from the header through its pieces to the status byte.
 *
 * A piece is what lies in one page of the guest and one page of the disk. A read takes each piece by the cheapest way
 * that is right: a whole page of the image is mapped, a part of one is copied, and pages of the layer are read by the
 * I/O thread straight into the held guest pages.
 */
import { PAGE_SIZE } from '../../../base/numbers.ts';
import type { DmaRange, GuestAccess, Hold, HoldResult } from '../../guest-access.ts';
import { type BlockBackend, PAGE_FAILED, PAGE_LOADING } from './backend.ts';

export interface Piece {
  readonly address: number;
  readonly length: number;
  /** Byte offset on the disk. */
  readonly offset: number;
}

export interface RequestContext {
  readonly backend: BlockBackend;
  readonly memory: GuestAccess;
  /** Pages that a request waits for may have come: advance it again. */
  readonly wake: () => void;
}

/** Cuts guest ranges, which lie one after the other on the disk from `offset` on, at page ends of both. */
export function cutPieces(ranges: readonly DmaRange[], offset: number): Piece[] {
  const pieces: Piece[] = [];
  let at = offset;
  for (const range of ranges) {
    let address = range.address;
    let left = range.length;
    while (left > 0) {
      const length = Math.min(left, PAGE_SIZE - (address % PAGE_SIZE), PAGE_SIZE - (at % PAGE_SIZE));
      pieces.push({ address, length, offset: at });
      address += length;
      at += length;
      left -= length;
    }
  }
  return pieces;
}

/** 'fault': the guest named memory that is no RAM. */
export type Progress = 'working' | 'done' | 'failed' | 'unsupported' | 'fault';

/** What a request does once it has begun. */
export interface Work {
  /** Does what can be done now. */
  advance(): Progress;
  /** The device was reset: nothing new begins. Pages at the I/O thread are released when it is done with them. */
  cancel(): void;
}

/** Work that was finished as it began. */
export const finished = (progress: Progress): Work => ({ advance: () => progress, cancel: () => {} });

/** A read: each piece is pending, in flight, or done. */
export class ReadWork implements Work {
  #pending: Piece[];
  #inFlight = 0;
  #failed = false;
  #fault = false;
  readonly #context: RequestContext;

  constructor(context: RequestContext, pieces: Piece[]) {
    this.#context = context;
    this.#pending = pieces;
  }

  cancel(): void {
    this.#pending = [];
    this.#failed = true;
  }

  advance(): Progress {
    if (!this.#failed && !this.#fault) this.#takePieces();
    this.#context.backend.submit();
    if (this.#inFlight > 0) return 'working';
    if (this.#fault) return 'fault';
    if (this.#failed) return 'failed';
    return this.#pending.length === 0 ? 'done' : 'working';
  }

  #takePieces(): void {
    const pieces = this.#pending;
    const left: Piece[] = [];
    let index = 0;
    while (index < pieces.length && !this.#failed && !this.#fault) {
      const piece = pieces[index];
      const page = Math.floor(piece.offset / PAGE_SIZE);
      let end = index + 1;
      let taken: boolean;
      if (this.#context.backend.inImage(page)) {
        taken = this.#takeFromImage(piece, page);
      } else {
        end = this.#layerRunEnd(pieces, index);
        taken = this.#readFromLayer(pieces.slice(index, end));
      }
      if (!taken) left.push(...pieces.slice(index, end));
      index = end;
    }
    left.push(...pieces.slice(index));
    this.#pending = left;
  }

  #takeFromImage(piece: Piece, page: number): boolean {
    const { backend, memory } = this.#context;
    const frame = backend.acquire(page);
    if (frame === PAGE_LOADING) return false;
    if (frame === PAGE_FAILED) {
      this.#failed = true;
      return false;
    }
    // The reference goes with the mapping.
    if (piece.length === PAGE_SIZE && memory.mapShared(piece.address, frame)) return true;
    const hold = this.#hold([piece]);
    if (hold !== undefined) {
      const within = piece.offset % PAGE_SIZE;
      hold.segments[0].set(backend.bytesOf(frame).subarray(within, within + piece.length));
      hold.release();
    }
    backend.release(frame);
    return hold !== undefined;
  }

  /** Pieces that follow one another on the disk, all of them the layer's, are one operation. */
  #layerRunEnd(pieces: readonly Piece[], start: number): number {
    let end = start + 1;
    while (
      end < pieces.length &&
      pieces[end].offset === pieces[end - 1].offset + pieces[end - 1].length &&
      !this.#context.backend.inImage(Math.floor(pieces[end].offset / PAGE_SIZE))
    ) {
      end++;
    }
    return end;
  }

  #readFromLayer(run: readonly Piece[]): boolean {
    const hold = this.#hold(run);
    if (hold === undefined) return false;
    this.#inFlight++;
    this.#context.backend.read(run[0].offset, hold.segments, (ok) => {
      hold.release();
      this.#inFlight--;
      if (!ok) this.#failed = true;
      this.#context.wake();
    });
    return true;
  }

  #hold(pieces: readonly Piece[]): Hold | undefined {
    const ranges = pieces.map(({ address, length }) => ({ address, length, write: true }));
    const result: HoldResult = this.#context.memory.hold(ranges, this.#context.wake);
    if (result === 'wait') return undefined;
    if (result === 'fault') {
      this.#fault = true;
      return undefined;
    }
    return result;
  }
}

/** A write or, without data, a flush. Its pages were held when it was accepted, so it only waits for the I/O thread. */
export class WriteWork implements Work {
  #state: Progress = 'working';
  #data: Hold | undefined;
  #cancelled = false;
  readonly #context: RequestContext;
  readonly #offset: number;

  constructor(context: RequestContext, offset: number, data: Hold | undefined) {
    this.#context = context;
    this.#offset = offset;
    this.#data = data;
  }

  /** The effect itself: hands the data over. */
  submit(): void {
    if (this.#cancelled) return;
    const data = this.#data;
    this.#data = undefined;
    const done = (ok: boolean): void => {
      data?.release();
      this.#state = ok ? 'done' : 'failed';
      this.#context.wake();
    };
    if (data === undefined) this.#context.backend.flush(done);
    else this.#context.backend.write(this.#offset, data.segments, done);
  }

  advance(): Progress {
    return this.#state;
  }

  cancel(): void {
    this.#cancelled = true;
    this.#data?.release();
    this.#data = undefined;
  }
}
