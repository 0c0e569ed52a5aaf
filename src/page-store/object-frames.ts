/**
 * Compressed pages in frames of the arena: each frame holds objects of one size, 2 to 64 of them (as zsmalloc does with whole frames).
 * The memory worker's alone; readers get an object's address from its slot.
 *
 *   frame of class 5    | object 0 | object 1 | … | object n − 1 | rest |
 *
 * A new object goes into the fullest frame of its class that has room, so that the sparse ones empty. An empty frame is freed at once.
 */
import { assert } from '../base/assert.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { type HostMemory, STORE_DOMAIN } from '../host-memory/index.ts';
import { allocateSharedSteps, releaseManySteps } from '../host-memory/shared-frames.ts';
import type { Steps } from '../host-memory/steps.ts';
import { OBJECT_BYTES, OBJECTS_PER_FRAME } from './object-sizes.ts';
import { PLACE_UNIT } from './store-table.ts';

const UNITS_PER_FRAME = PAGE_SIZE / PLACE_UNIT;
/** Frames of a class are listed by how full they are, in quarters; full ones in no list. */
const QUARTERS = 4;
const NO_LIST = 255;

export class ObjectFrames {
  readonly #host: HostMemory;
  // By frame from the first. Typed arrays, for there may be a million.
  readonly #class: Uint8Array;
  readonly #used: Uint8Array;
  readonly #list: Uint8Array;
  /** Two words a frame: a bit is set while its object is used. */
  readonly #bits: Int32Array;
  /** Frame index + 1 of the neighbours in its list. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Frame index + 1 of the first frame, by class and quarter. */
  readonly #heads = new Int32Array(OBJECT_BYTES.length * QUARTERS);
  frames = 0;

  constructor(host: HostMemory) {
    this.#host = host;
    this.#class = new Uint8Array(host.frameCount);
    this.#used = new Uint8Array(host.frameCount);
    this.#list = new Uint8Array(host.frameCount);
    this.#bits = new Int32Array(host.frameCount * 2);
    this.#next = new Int32Array(host.frameCount);
    this.#previous = new Int32Array(host.frameCount);
  }

  /** The place (address in units) of a new object of this class; 0 when no frame is to be had. */
  *takeSteps(kind: number): Steps<number> {
    let index = this.#fullest(kind);
    if (index < 0) {
      // What is stored frees a whole frame for each part of this one, so it may take the last there are.
      const frames = yield* allocateSharedSteps(this.#host, STORE_DOMAIN, 1, 'emergency');
      if (frames === null) return 0;
      index = frames[0] - this.#host.firstFrame;
      this.#class[index] = kind;
      this.#used[index] = 0;
      this.#list[index] = NO_LIST;
      this.#bits.fill(0, index * 2, index * 2 + 2);
      this.frames++;
    }
    const object = this.#claim(index);
    return (this.#host.firstFrame + index) * UNITS_PER_FRAME + (object * OBJECT_BYTES[kind]) / PLACE_UNIT;
  }

  *giveSteps(place: number): Steps<void> {
    const index = Math.floor(place / UNITS_PER_FRAME) - this.#host.firstFrame;
    const object = ((place % UNITS_PER_FRAME) * PLACE_UNIT) / OBJECT_BYTES[this.#class[index]];
    const bit = 1 << (object & 31);
    assert((this.#bits[index * 2 + (object >> 5)] & bit) !== 0, `a stored page is freed twice: place ${place}`);
    this.#bits[index * 2 + (object >> 5)] &= ~bit;
    this.#used[index]--;
    this.#relist(index);
    if (this.#used[index] > 0) return;
    this.frames--;
    yield* releaseManySteps(this.#host, [this.#host.firstFrame + index]);
  }

  /** Calls `visit` for every frame that is the store's. For audits. */
  eachFrame(visit: (frame: number) => void): void {
    for (let index = 0; index < this.#used.length; index++) if (this.#used[index] > 0) visit(this.#host.firstFrame + index);
  }

  #fullest(kind: number): number {
    for (let quarter = QUARTERS - 1; quarter >= 0; quarter--) {
      const head = this.#heads[kind * QUARTERS + quarter];
      if (head !== 0) return head - 1;
    }
    return -1;
  }

  /** The first free object of a frame that has one. */
  #claim(index: number): number {
    const low = ~this.#bits[index * 2];
    const word = low !== 0 ? 0 : 1;
    const free = word === 0 ? low : ~this.#bits[index * 2 + 1];
    const object = word * 32 + 31 - Math.clz32(free & -free);
    this.#bits[index * 2 + word] |= free & -free;
    this.#used[index]++;
    this.#relist(index);
    return object;
  }

  #relist(index: number): void {
    const kind = this.#class[index];
    const used = this.#used[index];
    const most = OBJECTS_PER_FRAME[kind];
    const list = used === 0 || used === most ? NO_LIST : kind * QUARTERS + Math.floor((used * QUARTERS) / most);
    if (list === this.#list[index]) return;
    if (this.#list[index] !== NO_LIST) this.#unlink(index);
    this.#list[index] = list;
    if (list === NO_LIST) return;
    const head = this.#heads[list];
    this.#previous[index] = 0;
    this.#next[index] = head;
    if (head !== 0) this.#previous[head - 1] = index + 1;
    this.#heads[list] = index + 1;
  }

  #unlink(index: number): void {
    const [previous, next] = [this.#previous[index], this.#next[index]];
    if (previous === 0) this.#heads[this.#list[index]] = next;
    else this.#next[previous - 1] = next;
    if (next !== 0) this.#previous[next - 1] = previous;
  }
}
