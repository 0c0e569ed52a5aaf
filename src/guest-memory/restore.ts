/** A machine's memory as a snapshot has it: pages that are stored are absent under numbers in a row, the balloon has what it had, all else is zero. */
import type { Steps } from '../host-memory/steps.ts';
import { VM_ABSENT, VM_BALLOONED } from '../host-memory/tables.ts';
import type { GuestMemory } from './guest-memory.ts';
import { ABSENT, BALLOONED, ENTRY_WORDS, LEAF_PAGES } from './page-entry.ts';
import { ownEntrySteps } from './page-table.ts';

/** Bitmaps, one bit a page. */
export interface RestoredPages {
  readonly stored: Uint8Array;
  readonly ballooned: Uint8Array;
  /** Page p is absent under `firstHandle + p`. */
  readonly firstHandle: number;
}

/** For a VM that nothing has happened to. False: there is not a table page for each leaf; power it off. */
export function* restoreSteps(guest: GuestMemory, { stored, ballooned, firstHandle }: RestoredPages): Steps<boolean> {
  const { words, account } = guest;
  const leafBytes = LEAF_PAGES / 8;
  for (let byte = 0; byte < stored.length; byte += leafBytes) {
    if (isEmpty(stored, byte, leafBytes) && isEmpty(ballooned, byte, leafBytes)) continue;
    const first = byte * 8;
    const leaf = yield* ownEntrySteps(guest, first);
    if (leaf === 0) return false;
    let absent = 0;
    let inBalloon = 0;
    for (let i = 0; i < LEAF_PAGES; i++) {
      const at = leaf + i * ENTRY_WORDS;
      const bit = 1 << (i & 7);
      if (((stored[byte + (i >> 3)] ?? 0) & bit) !== 0) {
        words[at] = ABSENT | (firstHandle + first + i);
        absent++;
      } else if (((ballooned[byte + (i >> 3)] ?? 0) & bit) !== 0) {
        words[at] = BALLOONED;
        inBalloon++;
      }
    }
    words[account + VM_ABSENT] += absent;
    words[account + VM_BALLOONED] += inBalloon;
  }
  return true;
}

function isEmpty(bitmap: Uint8Array, start: number, length: number): boolean {
  for (let i = start; i < start + length; i++) if ((bitmap[i] ?? 0) !== 0) return false;
  return true;
}
