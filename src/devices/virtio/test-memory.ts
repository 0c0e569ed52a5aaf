/**
 * For the tests of this folder: a guest's memory as devices see it, small and strict.
 *
 * It counts holds, notices any access outside RAM, and can make pages wait or let the guest change a ring at the worst
 * moment. Nothing but tests imports it.
 */
import { RAM_BASE } from '../../layout/machine.ts';
import type { DmaRange, GuestAccess, Hold, HoldResult } from '../guest-access.ts';

const PAGE = 4096;

export class TestMemory implements GuestAccess {
  readonly base = RAM_BASE;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly ballooned = new Set<number>();
  readonly discarded: { address: number; length: number }[] = [];
  /** Frames by page that `mapShared` gave. */
  readonly mapped = new Map<number, number>();
  holds = 0;
  /** Called before each access; true makes it wait. */
  mustWait: () => boolean = () => false;
  /** False: `mapShared` refuses. */
  mapShareable = true;
  /** Copies the content of a shared frame into a mapped page. */
  frameBytes: (frame: number) => Uint8Array = () => new Uint8Array(PAGE);
  #retries: (() => void)[] = [];

  /** `bytes` is the RAM; for the I/O thread it must lie in the arena. */
  constructor(bytes: Uint8Array = new Uint8Array(1024 * 1024)) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Calls the retries of everything that waited. */
  pagesCame(): void {
    const retries = this.#retries;
    this.#retries = [];
    for (const retry of retries) retry();
  }

  at(address: number, length: number): Uint8Array {
    if (!this.#isRam(address, length)) throw new Error(`test reads outside RAM: ${address}`);
    return this.bytes.subarray(address - this.base, address - this.base + length);
  }

  hold(ranges: readonly DmaRange[], retry: () => void): HoldResult {
    const segments: Uint8Array[] = [];
    for (const { address, length } of ranges) {
      if (length <= 0 || !this.#isRam(address, length)) return 'fault';
      for (let at = address; at < address + length; ) {
        const part = Math.min(PAGE - (at % PAGE), address + length - at);
        segments.push(this.at(at, part));
        at += part;
      }
    }
    if (this.mustWait()) {
      this.#retries.push(retry);
      return 'wait';
    }
    this.holds++;
    let released = false;
    const hold: Hold = {
      segments,
      release: () => {
        if (released) throw new Error('a hold was released twice');
        released = true;
        this.holds--;
      },
    };
    return hold;
  }

  readU16(address: number): number {
    return this.#check(address, 2) || this.view.getUint16(address - this.base, true);
  }

  readU32(address: number): number {
    return this.#check(address, 4) || this.view.getUint32(address - this.base, true);
  }

  writeU16(address: number, value: number): number {
    const check = this.#check(address, 2);
    if (check === 0) this.view.setUint16(address - this.base, value, true);
    return check;
  }

  writeU32(address: number, value: number): number {
    const check = this.#check(address, 4);
    if (check === 0) this.view.setUint32(address - this.base, value, true);
    return check;
  }

  mapShared(address: number, frame: number): boolean {
    if (!this.mapShareable || address % PAGE !== 0 || !this.#isRam(address, PAGE)) return false;
    this.mapped.set(address, frame);
    this.at(address, PAGE).set(this.frameBytes(frame));
    return true;
  }

  balloon(guestFrames: Uint32Array): number {
    const before = this.ballooned.size;
    for (const gfn of guestFrames) if (this.#isRam(gfn * PAGE, PAGE)) this.ballooned.add(gfn);
    return this.ballooned.size - before;
  }

  deflate(guestFrames: Uint32Array): number {
    const before = this.ballooned.size;
    for (const gfn of guestFrames) this.ballooned.delete(gfn);
    return before - this.ballooned.size;
  }

  discard(address: number, length: number): number {
    if (address % PAGE !== 0 || length % PAGE !== 0) throw new Error('only whole pages are discarded');
    if (!this.#isRam(address, length)) return 0;
    this.discarded.push({ address, length });
    this.at(address, length).fill(0);
    return length / PAGE;
  }

  #check(address: number, size: number): number {
    if (address % size !== 0) throw new Error('a ring field is not aligned');
    if (!this.#isRam(address, size)) return -1;
    return this.mustWait() ? -2 : 0;
  }

  #isRam(address: number, length: number): boolean {
    return address >= this.base && address + length <= this.base + this.bytes.length;
  }
}
