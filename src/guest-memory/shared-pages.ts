/**
 * Pages that begin as views of shared frames: pages of image files, kernels, initramfs, ROM. A write copies (write-fault.ts).
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import { retainSteps } from '../host-memory/frame-table.ts';
import { allocateSharedSteps, releaseManySteps } from '../host-memory/shared-frames.ts';
import type { Steps } from '../host-memory/steps.ts';
import { VM_DOMAIN, VM_TRANSIT_GAIN } from '../host-memory/tables.ts';
import { waitForTableSteps } from '../host-memory/waiters.ts';
import type { GuestMemory } from './guest-memory.ts';
import { trimSteps } from './handy-frames.ts';
import { countRom, loseContentSteps, setEntry, stamp } from './page-change.ts';
import { LEAF_PAGES, ROM, SHARED } from './page-entry.ts';
import { entryOf, ownEntrySteps } from './page-table.ts';

/** The page becomes a view of `frame`, whose reference the caller passes on. False: it stays the caller's, and nothing changed. */
export function* mapSharedSteps(guest: GuestMemory, page: number, frame: number): Steps<boolean> {
  const { words, account } = guest;
  if (guest.dying || guest.holds.isHeld(page)) return false;
  // From here on the reference is freed with the VM, should it die before the entry has it.
  words[account + VM_TRANSIT_GAIN] = frame;
  const at = yield* ownEntrySteps(guest, page);
  if (at === 0 || (words[at] & ROM) !== 0) {
    words[account + VM_TRANSIT_GAIN] = 0;
    return false;
  }
  stamp(guest, at);
  yield* loseContentSteps(guest, page, at, SHARED | frame, false);
  yield* trimSteps(guest);
  return true;
}

/** Consecutive pages become views of these frames; each gets a reference of its own. Repeatable after 'wait'. */
export function* mapFileBackedSteps(
  guest: GuestMemory,
  address: number,
  frames: readonly number[],
): Steps<'ok' | 'wait' | 'fault'> {
  if (address % PAGE_SIZE !== 0) return 'fault';
  const first = address / PAGE_SIZE;
  for (let i = 0; i < frames.length; i++) {
    const page = guest.ranges.pageOf(first + i);
    if (page < 0 || guest.holds.isHeld(page)) return 'fault';
  }
  for (let i = 0; i < frames.length; i++) {
    if (!(yield* retainSteps(guest.host, frames[i], -1))) return 'wait';
    if (yield* mapSharedSteps(guest, guest.ranges.pageOf(first + i), frames[i])) continue;
    yield* releaseManySteps(guest.host, [frames[i]]);
    yield* waitForTableSteps(guest.host, guest.vm);
    return 'wait';
  }
  return 'ok';
}

/** Registers a read-only range with these bytes: exactly the frames it needs, shared from the start. */
export function* addRomSteps(guest: GuestMemory, address: number, bytes: Uint8Array): Steps<'ok' | 'wait'> {
  const { host, words, account } = guest;
  const count = Math.ceil(bytes.length / PAGE_SIZE);
  const range = guest.ranges.add(address, count * PAGE_SIZE, true);
  let frames: readonly number[] | null = null;
  let tables = true;
  for (let i = 0; i < count && tables; i += LEAF_PAGES) tables = (yield* ownEntrySteps(guest, range.firstPage + i)) !== 0;
  if (tables) frames = yield* allocateSharedSteps(host, words[account + VM_DOMAIN], count);
  if (frames === null) {
    guest.ranges.removeLast();
    if (!tables) yield* waitForTableSteps(host, guest.vm);
    return 'wait';
  }
  for (let i = 0; i < count; i++) {
    host.kernels.zeroFrame(frames[i]);
    host.bytes.set(bytes.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE), frames[i] * PAGE_SIZE);
    setEntry(guest, entryOf(guest, range.firstPage + i), SHARED | ROM | frames[i]);
  }
  countRom(guest, count);
  return 'ok';
}
