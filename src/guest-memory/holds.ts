/**
 * Holds: a device request's pages, all or nothing, kept as they are until it is done.
 *
 * A held page is not merged, moved, freed or ballooned. One held for writing is private, and counts as written in every epoch until its
 * release. One held for reading that is shared keeps a reference of its own to the frame, so that the guest may break the sharing
 * meanwhile and the device still reads what it was given. The table of holds is the owner's alone.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import type { DmaRange, Hold } from '../devices/guest-access.ts';
import { retainSteps } from '../host-memory/frame-table.ts';
import { releaseManySteps } from '../host-memory/shared-frames.ts';
import type { Steps } from '../host-memory/steps.ts';
import type { GuestMemory } from './guest-memory.ts';
import { forgetCode, stamp } from './page-change.ts';
import { frameOf, MUST_WAIT, SHARED, stateOf } from './page-entry.ts';
import { entryOf } from './page-table.ts';
import { secureForWriteSteps } from './write-fault.ts';

export interface HoldCount {
  readers: number;
  writers: number;
}

/** One page of one hold. */
interface HeldPage {
  readonly page: number;
  readonly frame: number;
  readonly write: boolean;
  /** The hold has a reference of its own to this shared frame. */
  readonly referenced: boolean;
}

/** A chain of descriptors that a hostile guest makes arbitrarily long ends here: 64 MiB. */
const HOLD_PAGES_MAX = 16_384;

export class HoldTable {
  readonly byPage = new Map<number, HoldCount>();
  readonly open = new Set<HeldPage[]>();

  isHeld(page: number): boolean {
    return this.byPage.size !== 0 && this.byPage.has(page);
  }

  add(page: number, write: boolean): void {
    const count = this.byPage.get(page);
    if (count === undefined) this.byPage.set(page, { readers: write ? 0 : 1, writers: write ? 1 : 0 });
    else if (write) count.writers++;
    else count.readers++;
  }

  remove(page: number, write: boolean): void {
    const count = this.byPage.get(page);
    if (count === undefined) return;
    if (write) count.writers--;
    else count.readers--;
    if (count.readers === 0 && count.writers === 0) this.byPage.delete(page);
  }
}

/** Held pages of one range, appended to `held`. */
function* holdPagesSteps(guest: GuestMemory, range: DmaRange, held: HeldPage[]): Steps<'ok' | 'wait' | 'fault'> {
  const first = Math.floor(range.address / PAGE_SIZE);
  const last = Math.floor((range.address + range.length - 1) / PAGE_SIZE);
  for (let gfn = first; gfn <= last; gfn++) {
    const page = guest.ranges.pageOf(gfn);
    if (page < 0 || held.length === HOLD_PAGES_MAX) return 'fault';
    yield 'hold:page';
    let frame = range.write ? yield* secureForWriteSteps(guest, page) : yield* guest.frameForReadSteps(gfn);
    if (frame === MUST_WAIT) return 'wait';
    if (frame < 0) return 'fault';
    const at = range.write ? 0 : entryOf(guest, page);
    const shared = at !== 0 && stateOf(guest.words[at]) === SHARED;
    const referenced = shared && (yield* retainSteps(guest.host, frameOf(guest.words[at]), -1));
    // As many references as a frame can have: what the device reads is then a copy, which needs none.
    if (shared && !referenced) frame = yield* secureForWriteSteps(guest, page);
    if (frame < 0) return frame === MUST_WAIT ? 'wait' : 'fault';
    guest.holds.add(page, range.write);
    held.push({ page, frame, write: range.write, referenced });
  }
  return 'ok';
}

function segmentsOf(guest: GuestMemory, ranges: readonly DmaRange[], held: readonly HeldPage[]): Uint8Array[] {
  const segments: Uint8Array[] = [];
  let next = 0;
  for (const { address, length } of ranges) {
    for (let done = 0; done < length; ) {
      const offset = (address + done) % PAGE_SIZE;
      const size = Math.min(PAGE_SIZE - offset, length - done);
      segments.push(new Uint8Array(guest.host.memory.buffer, held[next++].frame * PAGE_SIZE + offset, size));
      done += size;
    }
  }
  return segments;
}

const sane = (range: DmaRange): boolean =>
  Number.isSafeInteger(range.address) && Number.isSafeInteger(range.length) && range.address >= 0 && range.length > 0;

/** A hold whose release can be taken step by step. */
export interface SteppedHold extends Hold {
  releaseSteps(): Steps<void>;
}

/** All pages of all ranges, or none of them. */
export function* holdSteps(guest: GuestMemory, ranges: readonly DmaRange[]): Steps<SteppedHold | 'wait' | 'fault'> {
  if (guest.dying || !ranges.every(sane)) return 'fault';
  const held: HeldPage[] = [];
  let complete = false;
  guest.holds.open.add(held);
  try {
    for (const range of ranges) {
      const result = yield* holdPagesSteps(guest, range, held);
      if (result !== 'ok') return result;
    }
    complete = true;
  } finally {
    if (!complete) yield* releaseHoldSteps(guest, held);
  }
  const segments = segmentsOf(guest, ranges, held);
  const releaseSteps = () => releaseHoldSteps(guest, held);
  return { segments, releaseSteps, release: () => guest.host.run(releaseSteps()) };
}

/** Releasing twice is releasing once. */
function* releaseHoldSteps(guest: GuestMemory, held: HeldPage[]): Steps<void> {
  yield 'hold:release';
  if (!guest.holds.open.delete(held)) return;
  const frames: number[] = [];
  for (const { page, frame, write, referenced } of held) {
    guest.holds.remove(page, write);
    if (referenced) frames.push(frame);
    // The guest may have run code of this page before the device's bytes came.
    if (write) forgetCode(guest, frame);
  }
  held.length = 0;
  if (frames.length > 0) yield* releaseManySteps(guest.host, frames);
}

/** Pages held for writing count as written in the epoch that begins. Before the epoch is published. */
export function restampHeld(guest: GuestMemory): void {
  for (const [page, { writers }] of guest.holds.byPage) if (writers > 0) stamp(guest, entryOf(guest, page));
}
