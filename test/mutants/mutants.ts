/**
 * Planted bugs: each a replacement in one source file that must be found exactly once. The simulator or its audit must catch every one;
 * none has a test of its own there.
 */
export interface Mutant {
  readonly name: string;
  /** Path below the repository's root. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const WRITE_FAULT = 'src/guest-memory/write-fault.ts';
const PAGE_CHANGE = 'src/guest-memory/page-change.ts';
const GUEST_MEMORY = 'src/guest-memory/guest-memory.ts';
const LIFE = 'src/guest-memory/life.ts';
const BALLOON = 'src/guest-memory/balloon.ts';
const FRAME_TABLE = 'src/host-memory/frame-table.ts';

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'a missing TLB drop',
    file: PAGE_CHANGE,
    find: `if (state === PRIVATE || (state === SHARED && (entry & ALIASED) !== 0)) guest.tlb?.dropFrame(frame);`,
    replace: `if (state === SHARED && (entry & ALIASED) !== 0) guest.tlb?.dropFrame(frame);`,
  },
  {
    name: 'an alias left on the old frame (zero)',
    file: WRITE_FAULT,
    find: `if ((entry & ALIASED) !== 0) guest.tlb?.dropFrame(host.zeroFrame);`,
    replace: ``,
  },
  {
    name: 'an alias left on the old frame (shared)',
    file: WRITE_FAULT,
    find: `if ((entry & ALIASED) !== 0) guest.tlb?.dropFrame(old);`,
    replace: `if ((entry & ALIASED) !== 0) guest.tlb?.dropFrameWrites(old);`,
  },
  {
    name: 'a frame freed twice',
    file: LIFE,
    find: `if (frame !== 0) putHandy(host, vm, frame);`,
    replace: `if (frame !== 0) putHandy(host, vm, frame);
  if (frame !== 0) putHandy(host, vm, frame);`,
  },
  {
    name: 'a lost rollback',
    file: 'src/guest-memory/holds.ts',
    find: `if (!complete) yield* releaseHoldSteps(guest, held);`,
    replace: `if (!complete) guest.holds.open.delete(held);`,
  },
  {
    name: 'a lost rollback of references',
    file: 'src/guest-memory/shared-leaf.ts',
    find: `      yield* releaseManySteps(host, retained);
`,
    replace: ``,
  },
  {
    name: 'a stale generation accepted',
    file: FRAME_TABLE,
    find: `if (generation >= 0 && frameGeneration(word) !== generation) return false;`,
    replace: ``,
  },
  {
    name: 'a held page ballooned',
    file: BALLOON,
    find: `if (guest.holds.isHeld(page)) continue;`,
    replace: ``,
  },
  {
    name: 'a held page discarded',
    file: BALLOON,
    find: `if (loses && !guest.holds.isHeld(page)) {`,
    replace: `if (loses) {`,
  },
  {
    name: 'a handy frame leaked on VM death',
    file: 'src/guest-memory/handy-frames.ts',
    find: `yield* giveBackSteps(guest.host, guest.vm, guest.words[guest.account + VM_HANDY]);`,
    replace: `yield* giveBackSteps(guest.host, guest.vm, guest.words[guest.account + VM_HANDY] - 1);`,
  },
  {
    name: 'a balloon page counted twice',
    file: BALLOON,
    find: `if (state === BALLOONED || (entry & ROM) !== 0) continue;`,
    replace: `if ((entry & ROM) !== 0) continue;
    if (state === BALLOONED) {
      Atomics.add(guest.words, guest.account + 6, 1);
      continue;
    }`,
  },
  {
    name: 'a balloon list whose doubles stay',
    file: BALLOON,
    find: `if (state === BALLOONED || (entry & ROM) !== 0) continue;`,
    replace: `if ((entry & ROM) !== 0) continue;
    if (state === BALLOONED) {
      changed.add(page);
      continue;
    }`,
  },
  {
    name: 'a balloon list that frees before its grants are gone',
    file: BALLOON,
    find: `  const grantsDropped = pages.length >= DROP_ALL_PAGES;
  if (grantsDropped) guest.tlb?.dropAll();`,
    replace: `  const grantsDropped = pages.length >= DROP_ALL_PAGES;`,
  },
  {
    name: 'surplus of a balloon lost from its chain',
    file: 'src/host-memory/allocation.ts',
    find: `chainLink(words[entry + VM_SURPLUS])`,
    replace: `chainLink(0)`,
  },
  {
    name: 'a reference count off by one',
    file: 'src/guest-memory/holds.ts',
    find: `if (referenced) frames.push(frame);`,
    replace: `if (referenced && !write) frames.push(frame, frame);`,
  },
  {
    name: 'a reference taken from zero',
    file: FRAME_TABLE,
    find: `if (Atomics.compareExchange(host.words, at, word, word + 1) === word) return true;`,
    replace: `Atomics.add(host.words, at, 1);
    return true;`,
  },
  {
    name: 'locks taken out of order',
    file: 'src/host-memory/accounts.ts',
    find: `  yield* lock(host, LOCK_ACCOUNTS);
  yield* lock(host, LOCK_CHUNKS);
  yield 'waiters:cancel';`,
    replace: `  yield* lock(host, LOCK_CHUNKS);
  yield* lock(host, LOCK_ACCOUNTS);
  yield 'waiters:cancel';`,
  },
  {
    name: 'a write granted on a Zero page',
    file: GUEST_MEMORY,
    find: `    if (at === 0 || (this.words[at] & (STATE_MASK | ROM)) !== PRIVATE) return SLOW;
    const frame = frameOf(this.words[at]);`,
    replace: `    if (at === 0 || (this.words[at] & (STATE_MASK | ROM)) > PRIVATE) return SLOW;
    const frame = frameOf(this.words[at]) || this.host.map.zeroFrame;`,
  },
  {
    name: 'a stamp set after the grant',
    file: GUEST_MEMORY,
    find: `    if (this.words[at + ENTRY_STAMP] !== this.epoch) Atomics.store(this.words, at + ENTRY_STAMP, this.epoch);
    return frame;`,
    replace: `    const { late } = this as { late?: number };
    if (late) Atomics.store(this.words, late, this.epoch);
    (this as { late?: number }).late = at + ENTRY_STAMP;
    return frame;`,
  },
  {
    name: 'a lost wake-up after a free',
    file: 'src/host-memory/allocation.ts',
    find: `  if (somebodyWaits) yield* wakeWaitersSteps(host);`,
    replace: ``,
  },
  {
    name: 'a lost wake-up after a shared frame is freed',
    file: 'src/host-memory/shared-frames.ts',
    find: `  if (somebodyWaits) yield* wakeWaitersSteps(host);`,
    replace: ``,
  },
  {
    name: 'a lost wake-up of the next in line',
    file: 'src/host-memory/accounts.ts',
    find: `  wakeWaiters(host);
`,
    replace: ``,
  },
  {
    name: 'free frames counted for those who may not have them',
    file: 'src/host-memory/chunk-set.ts',
    find: `CLASS_FREE_FRAMES + domain * 2 + (kind === CHUNK_PRIVATE ? 0 : 1);`,
    replace: `CLASS_FREE_FRAMES + 0 * domain * kind;`,
  },
];
