/**
 * One request as the ring describes it: a list of guest-physical buffers, the readable before the writable.
 *
 * A chain is filled by `VirtQueue.pop` with fields that were each read once; nothing here looks at guest memory
 * again, so a guest that changes a descriptor afterwards changes nothing.
 */
import type { DmaRange } from '../../guest-access.ts';

export class Chain {
  /** Index of the first descriptor: the request's name in the used ring. */
  head = 0;
  count = 0;
  readableBytes = 0;
  writableBytes = 0;
  readonly addresses: Float64Array;
  readonly lengths: Float64Array;
  /** Buffers from this one on are device-writable. */
  firstWritable = 0;

  /** `descriptorsMax` is the size of the largest queue that the chain is used with. */
  constructor(descriptorsMax: number) {
    this.addresses = new Float64Array(descriptorsMax);
    this.lengths = new Float64Array(descriptorsMax);
  }

  clear(head: number): void {
    this.head = head;
    this.count = 0;
    this.readableBytes = 0;
    this.writableBytes = 0;
    this.firstWritable = 0;
  }

  add(address: number, length: number, writable: boolean): void {
    this.addresses[this.count] = address;
    this.lengths[this.count] = length;
    this.count++;
    if (writable) {
      this.writableBytes += length;
    } else {
      this.readableBytes += length;
      this.firstWritable = this.count;
    }
  }

  /** Bytes `from` … `from + length` of the readable part. */
  readable(from: number, length: number): DmaRange[] {
    return this.#slice(0, this.firstWritable, from, length, false);
  }

  /** Bytes `from` … `from + length` of the writable part. */
  writable(from: number, length: number): DmaRange[] {
    return this.#slice(this.firstWritable, this.count, from, length, true);
  }

  #slice(first: number, end: number, from: number, length: number, write: boolean): DmaRange[] {
    const ranges: DmaRange[] = [];
    let skip = from;
    let left = length;
    for (let i = first; i < end && left > 0; i++) {
      const available = this.lengths[i] - skip;
      if (available <= 0) {
        skip -= this.lengths[i];
        continue;
      }
      const taken = Math.min(available, left);
      ranges.push({ address: this.addresses[i] + skip, length: taken, write });
      skip = 0;
      left -= taken;
    }
    return ranges;
  }
}

/** All bytes of the segments in one new array: what leaves guest memory is a copy. */
export function gather(segments: readonly Uint8Array[]): Uint8Array {
  let total = 0;
  for (const segment of segments) total += segment.length;
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const segment of segments) {
    bytes.set(segment, at);
    at += segment.length;
  }
  return bytes;
}

/** Spreads `bytes` over the segments, as far as they reach; returns how many bytes found room. */
export function scatter(segments: readonly Uint8Array[], bytes: Uint8Array): number {
  let at = 0;
  for (const segment of segments) {
    const part = bytes.subarray(at, at + segment.length);
    segment.set(part);
    at += part.length;
    if (at === bytes.length) break;
  }
  return at;
}
