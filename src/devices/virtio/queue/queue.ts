/**
 * The device's side of one split virtqueue (virtio 1.2, 2.7).
 *
 * The guest owns every byte of the rings and may write anything, at any moment. So each field is read once, every
 * walk is bounded by the queue's size, and a ring that makes no sense breaks the queue (`fail`), never the host. A page
 * of the ring that must wait ends the work with `retry` set; the transport comes back at its next poll.
 *
 * Not offered: indirect descriptors, event index, packed rings.
 */
import { assert } from '../../../base/assert.ts';
import type { DmaRange, GuestAccess, Hold } from '../../guest-access.ts';
import type { Chain } from './chain.ts';
import * as layout from './layout.ts';
import type { QueueState } from './state.ts';

const MUST_WAIT = -2;

export interface QueueOwner {
  /** Used buffers were published and the driver wants to hear of it. */
  buffersUsed(): void;
  fail(reason: string): void;
}

export class VirtQueue {
  readonly index: number;
  /** Largest size that the driver may choose: QueueNumMax. */
  readonly sizeMax: number;
  size = 0;
  ready = false;
  descriptors = 0;
  available = 0;
  used = 0;
  /** Work stopped since a page had to wait: try again at the next poll. */
  retry = false;
  /** Counts resets. Who completes a request later compares: the buffers of an earlier life are nobody's now. */
  generation = 0;
  readonly #memory: GuestAccess;
  readonly #owner: QueueOwner;
  #nextAvailable = 0;
  #usedIndex = 0;
  /** Buffers popped and not yet pushed. */
  #outstanding = 0;
  /** Used elements not yet in guest memory: head, length, head, length… At most `size` of them. */
  readonly #unwritten: number[] = [];
  /** Guest memory will call back when the pages of the last request can be had. */
  #awaitsPages = false;
  readonly #pagesCame = (): void => {
    this.#awaitsPages = false;
    this.retry = true;
  };

  constructor(index: number, sizeMax: number, memory: GuestAccess, owner: QueueOwner) {
    this.index = index;
    this.sizeMax = sizeMax;
    this.#memory = memory;
    this.#owner = owner;
  }

  reset(): void {
    this.size = 0;
    this.ready = false;
    this.descriptors = 0;
    this.available = 0;
    this.used = 0;
    this.retry = false;
    this.generation++;
    this.#awaitsPages = false;
    this.#nextAvailable = 0;
    this.#usedIndex = 0;
    this.#outstanding = 0;
    this.#unwritten.length = 0;
  }

  /** The driver set QueueReady. A queue that cannot work is refused by `fail`. */
  enable(): void {
    const aligned = this.descriptors % 16 === 0 && this.available % 2 === 0 && this.used % 4 === 0;
    if (this.size === 0 || !aligned) {
      this.#owner.fail(`queue ${this.index} was enabled with size ${this.size} or misaligned rings`);
      return;
    }
    this.ready = true;
  }

  /**
   * The next request into `chain`, or false: there is none, a page must wait (`retry`), or the ring is broken.
   * A chain with more than `bytesMax` bytes in all breaks the queue.
   */
  pop(chain: Chain, bytesMax: number): boolean {
    if (!this.ready || this.#awaitsPages || !this.flush()) return false;
    const index = this.#memory.readU16(this.available + layout.AVAILABLE_INDEX);
    if (index < 0) return this.#stop(index);
    const waiting = (index - this.#nextAvailable) & 0xffff;
    if (waiting === 0) return false;
    if (waiting > this.size) return this.#fail(`queue ${this.index} claims ${waiting} new buffers`);
    if (this.#outstanding >= this.size) return this.#fail(`queue ${this.index} has more buffers than descriptors`);
    const slot = this.#nextAvailable % this.size;
    const head = this.#memory.readU16(this.available + layout.AVAILABLE_RING + 2 * slot);
    if (head < 0) return this.#stop(head);
    if (!this.parse(head, chain)) return false;
    if (chain.readableBytes + chain.writableBytes > bytesMax) return this.#fail(`queue ${this.index} has an overlong chain`);
    this.#nextAvailable = (this.#nextAvailable + 1) & 0xffff;
    this.#outstanding++;
    return true;
  }

  /** Leaves the buffer that was popped last in the ring: the next `pop` gives it again. */
  unpop(): void {
    assert(this.#outstanding > 0, 'a buffer is put back that was not taken');
    this.#nextAvailable = (this.#nextAvailable - 1) & 0xffff;
    this.#outstanding--;
  }

  /** How many buffers the driver has made available so far, mod 2^16; below 0 when it cannot be read now (with `retry` if it can be later). */
  availableIndex(): number {
    if (!this.ready) return -1;
    const index = this.#memory.readU16(this.available + layout.AVAILABLE_INDEX);
    if (index === MUST_WAIT) this.retry = true;
    return index;
  }

  /** How many buffers were popped so far, mod 2^16. */
  get poppedIndex(): number {
    return this.#nextAvailable;
  }

  /** Follows the descriptors from `head`. False when a page must wait or the chain is malformed. */
  parse(head: number, chain: Chain): boolean {
    chain.clear(head);
    let next = head;
    for (;;) {
      if (next >= this.size) return this.#fail(`queue ${this.index} names descriptor ${next} of ${this.size}`);
      if (chain.count === this.size) return this.#fail(`queue ${this.index} has a descriptor loop`);
      const at = this.descriptors + next * layout.DESCRIPTOR_SIZE;
      const low = this.#memory.readU32(at + layout.DESCRIPTOR_ADDRESS_LOW);
      if (low < 0) return this.#stop(low);
      const high = this.#memory.readU32(at + layout.DESCRIPTOR_ADDRESS_HIGH);
      if (high < 0) return this.#stop(high);
      const length = this.#memory.readU32(at + layout.DESCRIPTOR_LENGTH);
      if (length < 0) return this.#stop(length);
      const flagsNext = this.#memory.readU32(at + layout.DESCRIPTOR_FLAGS_NEXT);
      if (flagsNext < 0) return this.#stop(flagsNext);
      if (!this.#addDescriptor(chain, high, low, length, flagsNext & 0xffff)) return false;
      if ((flagsNext & layout.FLAG_NEXT) === 0) return true;
      next = flagsNext >>> 16;
    }
  }

  /**
   * Holds the ranges of a request. Undefined: an address is no RAM (the queue is broken), or a page must wait; then `pop` gives nothing until
   * `retry` is set.
   */
  hold(ranges: readonly DmaRange[]): Hold | undefined {
    this.#awaitsPages = true;
    const result = this.#memory.hold(ranges, this.#pagesCame);
    if (result === 'wait') return undefined;
    this.#awaitsPages = false;
    if (result === 'fault') {
      this.#fail(`queue ${this.index} has a buffer outside RAM`);
      return undefined;
    }
    return result;
  }

  /**
   * Gives a buffer back, with the number of bytes written into it. Visible to the driver after `flush`. A buffer that is nobody's, since
   * the driver reset the queue meanwhile, is dropped.
   */
  push(head: number, length: number): void {
    if (this.#outstanding === 0) return;
    this.#outstanding--;
    this.#unwritten.push(head, length);
  }

  /** Publishes what was pushed, and interrupts unless the driver asked not to. False: a page must wait, or the ring is broken. */
  flush(): boolean {
    if (!this.ready) return false;
    if (this.#unwritten.length === 0) return true;
    let index = this.#usedIndex;
    for (let i = 0; i < this.#unwritten.length; i += 2) {
      const element = this.used + layout.USED_RING + (index % this.size) * layout.USED_ELEMENT_SIZE;
      const wroteHead = this.#memory.writeU32(element, this.#unwritten[i]);
      if (wroteHead < 0) return this.#stop(wroteHead);
      const wroteLength = this.#memory.writeU32(element + 4, this.#unwritten[i + 1]);
      if (wroteLength < 0) return this.#stop(wroteLength);
      index = (index + 1) & 0xffff;
    }
    const published = this.#memory.writeU16(this.used + layout.USED_INDEX, index);
    if (published < 0) return this.#stop(published);
    this.#usedIndex = index;
    this.#unwritten.length = 0;
    const flags = this.#memory.readU16(this.available + layout.AVAILABLE_FLAGS);
    // A flag that cannot be read now is taken as "wants to hear": an interrupt too many harms nobody.
    if (flags < 0 || (flags & layout.AVAILABLE_NO_INTERRUPT) === 0) this.#owner.buffersUsed();
    return true;
  }

  save(): QueueState {
    return [
      this.size,
      this.ready,
      this.descriptors,
      this.available,
      this.used,
      this.#nextAvailable,
      this.#usedIndex,
      this.#outstanding,
      [...this.#unwritten],
    ];
  }

  restore(state: QueueState): void {
    const [size, ready, descriptors, available, used, nextAvailable, usedIndex, outstanding, unwritten] = state;
    this.size = size;
    this.ready = ready;
    this.descriptors = descriptors;
    this.available = available;
    this.used = used;
    this.#nextAvailable = nextAvailable;
    this.#usedIndex = usedIndex;
    this.#outstanding = outstanding;
    this.#unwritten.length = 0;
    this.#unwritten.push(...unwritten);
    // Whatever the driver asked before the save is looked at again; a notification may have been lost.
    this.retry = ready;
  }

  #addDescriptor(chain: Chain, high: number, low: number, length: number, flags: number): boolean {
    const writable = (flags & layout.FLAG_WRITE) !== 0;
    if ((flags & layout.FLAG_INDIRECT) !== 0)
      return this.#fail(`queue ${this.index} has an indirect descriptor, which was not offered`);
    if (length === 0) return this.#fail(`queue ${this.index} has an empty descriptor`);
    if (high >= layout.ADDRESS_HIGH_END) return this.#fail(`queue ${this.index} has a buffer outside RAM`);
    if (!writable && chain.writableBytes > 0) return this.#fail(`queue ${this.index} has a readable buffer after a writable one`);
    chain.add(high * 0x1_0000_0000 + low, length, writable);
    return true;
  }

  /** A ring field could not be read or written: later, or never. */
  #stop(result: number): false {
    if (result === MUST_WAIT) {
      this.retry = true;
      return false;
    }
    return this.#fail(`the rings of queue ${this.index} are outside RAM`);
  }

  #fail(reason: string): false {
    this.#owner.fail(reason);
    return false;
  }
}
