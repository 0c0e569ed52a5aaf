/**
 * A write into a layer, whose pages are there in full or not at all. A page that is written in part, and is not in the layer
 * yet, is first copied up from below; then the guest's bytes go on top. The I/O thread keeps the order.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import { PAGE_FAILED, PAGE_LOADING } from '../devices/virtio/block/backend.ts';
import { KIND_WRITE, SEGMENTS_MAX } from './io/channel.ts';
import type { IoClient } from './io/client.ts';
import type { Layer } from './layer.ts';

/** Where the pages below the layer come from. */
export interface Below {
  /** As `BlockBackend.acquire`. */
  acquire(page: number): number;
  release(frame: number): void;
  bytesOf(frame: number): Uint8Array;
}

/** `bytes` of data in segments, cut where an operation must end. */
export function* batches(segments: readonly Uint8Array[], offset: number): Generator<{ offset: number; segments: Uint8Array[] }> {
  let at = offset;
  for (let i = 0; i < segments.length; i += SEGMENTS_MAX) {
    const part = segments.slice(i, i + SEGMENTS_MAX);
    yield { offset: at, segments: part };
    for (const segment of part) at += segment.length;
  }
}

export class LayerWrite {
  readonly #io: IoClient;
  readonly #layer: Layer;
  readonly #below: Below;
  readonly #offset: number;
  readonly #end: number;
  readonly #segments: readonly Uint8Array[];
  readonly #done: (ok: boolean) => void;
  /** Pages to copy up that have not come yet. */
  #copyUp: number[];
  #operations = 0;
  #ok = true;

  constructor(
    io: IoClient,
    layer: Layer,
    below: Below,
    write: { offset: number; segments: readonly Uint8Array[]; done: (ok: boolean) => void },
  ) {
    this.#io = io;
    this.#layer = layer;
    this.#below = below;
    this.#offset = write.offset;
    this.#segments = write.segments;
    this.#end = write.offset + write.segments.reduce((sum, segment) => sum + segment.length, 0);
    this.#done = write.done;
    const first = Math.floor(this.#offset / PAGE_SIZE);
    const last = Math.ceil(this.#end / PAGE_SIZE) - 1;
    const partial = new Set<number>();
    if (this.#offset % PAGE_SIZE !== 0) partial.add(first);
    if (this.#end % PAGE_SIZE !== 0) partial.add(last);
    this.#copyUp = [...partial].filter((page) => !layer.has(page));
  }

  /** Goes on as far as it can. True when the last operation is submitted; `done` follows. */
  advance(): boolean {
    const left: number[] = [];
    for (const page of this.#copyUp) {
      const frame = this.#below.acquire(page);
      if (frame === PAGE_LOADING) left.push(page);
      else if (frame === PAGE_FAILED) this.#ok = false;
      else this.#submit(page * PAGE_SIZE, [this.#below.bytesOf(frame)], () => this.#below.release(frame));
    }
    this.#copyUp = left;
    if (left.length > 0) return false;
    if (this.#ok)
      for (const { offset, segments } of batches(this.#segments, this.#offset)) this.#submit(offset, segments, () => {});
    if (this.#operations === 0) this.#done(false);
    return true;
  }

  /** Gives up what has not been submitted; `done(false)` follows, or has come when this returns. */
  abandon(): void {
    this.#copyUp = [];
    this.#ok = false;
    if (this.#operations === 0) this.#done(false);
  }

  #submit(offset: number, segments: readonly Uint8Array[], release: () => void): void {
    this.#operations++;
    this.#io.submit({
      kind: KIND_WRITE,
      file: this.#layer.file,
      offset,
      check: 0,
      segments,
      done: (ok) => {
        release();
        this.#ok &&= ok;
        if (--this.#operations === 0 && this.#copyUp.length === 0) this.#finish();
      },
    });
  }

  #finish(): void {
    if (this.#ok) this.#layer.add(Math.floor(this.#offset / PAGE_SIZE), Math.ceil(this.#end / PAGE_SIZE));
    this.#done(this.#ok);
  }
}
