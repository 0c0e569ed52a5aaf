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
const NOMINATED = 'src/guest-memory/nominated.ts';
const AT_ONCE = 'src/guest-memory/nominated-at-once.ts';
const ABSENT_PAGES = 'src/guest-memory/absent-pages.ts';
const PLACEMENT = 'src/host-memory/placement.ts';
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
    name: 'a copied leaf without references to what its absent pages are kept under',
    file: 'src/guest-memory/shared-leaf.ts',
    find: `guest.source?.retain(frameOf(words[old * 1024 + i]));`,
    replace: `continue;`,
  },
  {
    name: 'a page of a forked leaf still asked for',
    file: 'src/guest-memory/shared-leaf.ts',
    find: `guest.cancelRequest(firstPage + i, at);`,
    replace: `continue;`,
  },
  {
    name: 'what was kept for a forked leaf, never given up',
    file: 'src/guest-memory/shared-leaf.ts',
    find: `guest.source?.release(frameOf(entry));`,
    replace: `continue;`,
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
    find: `    if ((entry & (STATE_MASK | ROM | YOUNG)) !== (PRIVATE | YOUNG)) return SLOW;
    const frame = frameOf(entry);`,
    replace: `    if (at === 0 || (entry & (STATE_MASK | ROM)) > PRIVATE) return SLOW;
    const frame = frameOf(entry) || this.host.map.zeroFrame;`,
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
  // Fusion, reclaim, moving. The memory worker reads before it nominates, so what it read is what these take for granted.
  {
    name: 'copied first, checked later',
    file: NOMINATED,
    find: `  const at = quietEntry(guest, nominated);
  if (at === 0 || !inOwnDomain(guest, target) || !hasSoleReference(guest.host, target)) return false;
  guest.host.kernels.copyFrame(target, frameOf(nominated.identity));`,
    replace: `  const at = sameEntry(guest, nominated);
  if (at === 0 || !inOwnDomain(guest, target) || !hasSoleReference(guest.host, target)) return false;`,
  },
  {
    name: 'compared first, checked later',
    file: NOMINATED,
    find: `  const at = quietEntry(guest, nominated);
  const old = frameOf(nominated.identity);
  if (at === 0 || old === target || !inOwnDomain(guest, target)) return false;
  if (!guest.host.kernels.sameFrames(old, target)) return false;`,
    replace: `  const at = sameEntry(guest, nominated);
  const old = frameOf(nominated.identity);
  if (at === 0 || old === target || !inOwnDomain(guest, target)) return false;`,
  },
  {
    name: 'no TLB drop after a merge',
    file: NOMINATED,
    find: `yield* loseContentSteps(guest, page, at, SHARED | target, false);`,
    replace: `yield* loseContentSteps(guest, page, at, SHARED | target, true);`,
  },
  {
    name: 'a merge into a frame of another generation',
    file: NOMINATED,
    find: `return yield* becomeViewSteps(guest, nominated.page, at, target, generation);`,
    replace: `return yield* becomeViewSteps(guest, nominated.page, at, target, generation & 0 ? generation : -1);`,
  },
  {
    name: 'a shared frame filled that others know',
    file: NOMINATED,
    find: ` || !hasSoleReference(guest.host, target)) return false;`,
    replace: ` || !hasSoleReference) return false;`,
  },
  {
    name: 'a held page merged',
    file: NOMINATED,
    find: `  const at = quietEntry(guest, nominated);
  if (at === 0 || !inOwnDomain(guest, target) ||`,
    replace: `  const { byPage } = guest.holds;
  (guest.holds as { byPage: typeof byPage }).byPage = new Map();
  const at = quietEntry(guest, nominated);
  (guest.holds as { byPage: typeof byPage }).byPage = byPage;
  if (at === 0 || !inOwnDomain(guest, target) ||`,
  },
  {
    name: 'a held page merged at once',
    file: AT_ONCE,
    find: `  const at = quietEntry(guest, nominated);
  if (at === 0 || !inOwnDomain(guest, target)) return false;`,
    replace: `  const { byPage } = guest.holds;
  (guest.holds as { byPage: typeof byPage }).byPage = new Map();
  const at = quietEntry(guest, nominated);
  (guest.holds as { byPage: typeof byPage }).byPage = byPage;
  if (at === 0 || !inOwnDomain(guest, target)) return false;`,
  },
  {
    name: 'no TLB drop after a merge at once',
    file: AT_ONCE,
    find: `if (retained === true) losePrivate(guest, at, SHARED | target, false);`,
    replace: `if (retained === true) losePrivate(guest, at, SHARED | target, true);`,
  },
  {
    name: 'no TLB drop after zero reclaim at once',
    file: AT_ONCE,
    find: `losePrivate(guest, at, ZERO, false);`,
    replace: `losePrivate(guest, at, ZERO, true);`,
  },
  {
    name: 'merged at once into a frame of another generation',
    file: AT_ONCE,
    find: `return becomeViewAtOnce(guest, at, target, generation);`,
    replace: `return becomeViewAtOnce(guest, at, target, generation & 0 ? generation : -1);`,
  },
  {
    name: 'zero reclaim without protection',
    file: NOMINATED,
    find: `  const at = quietEntry(guest, nominated);
  if (at === 0 || !guest.host.kernels.isZeroFrame(frameOf(nominated.identity))) return false;`,
    replace: `  const at = sameEntry(guest, nominated);
  if (at === 0) return false;`,
  },
  {
    name: 'a hash used after its page changed',
    file: NOMINATED,
    find: `  const at = quietEntry(guest, nominated);
  if (at === 0 || guest.source === null`,
    replace: `  const at = sameEntry(guest, nominated);
  if (at === 0 || guest.source === null`,
  },
  {
    name: 'a page in use parked',
    file: NOMINATED,
    find: `guest.source === null || (guest.words[at] & YOUNG) !== 0) return false;`,
    replace: `guest.source === null) return false;`,
  },
  {
    name: 'a move under DMA',
    file: NOMINATED,
    find: `  const at = sameEntry(guest, nominated);
  if (at === 0 || stateOf(nominated.identity) !== PRIVATE) return false;`,
    replace: `  const { byPage } = guest.holds;
  (guest.holds as { byPage: typeof byPage }).byPage = new Map();
  const at = sameEntry(guest, nominated);
  (guest.holds as { byPage: typeof byPage }).byPage = byPage;
  if (at === 0 || stateOf(nominated.identity) !== PRIVATE) return false;`,
  },
  {
    name: 'no TLB drop after a move',
    file: NOMINATED,
    find: `  guest.tlb?.dropFrame(old);
`,
    replace: ``,
  },
  {
    name: 'a page of a shared leaf merged',
    file: NOMINATED,
    find: `if (at === 0 || inSharedLeaf(guest, page)) return 0;`,
    replace: `if (at === 0) return 0;`,
  },
  {
    name: 'aged, and grants left',
    file: NOMINATED,
    find: `  yield 'age:drop-grants';
  guest.tlb?.dropAll();`,
    replace: `  yield 'age:drop-grants';`,
  },
  {
    name: 'content that changes without a stamp',
    file: 'src/guest-memory/shared-pages.ts',
    find: `  stamp(guest, at);
`,
    replace: ``,
  },
  {
    name: 'swap-in under another handle',
    file: ABSENT_PAGES,
    find: `return stateOf(entry) === ABSENT && frameOf(entry) === handle ? at : 'stale';`,
    replace: `return stateOf(entry) === ABSENT ? at : 'stale';`,
  },
  {
    name: 'swap-in racing a write',
    file: ABSENT_PAGES,
    find: `return stateOf(entry) === ABSENT && frameOf(entry) === handle ? at : 'stale';`,
    replace: `return stateOf(entry) !== ABSENT || frameOf(entry) === handle ? at : 'stale';`,
  },
  {
    name: 'a reserve not kept',
    file: 'src/host-memory/availability.ts',
    find: `(use === 'grow' ? host.words[BREAK_RESERVE] : 0);`,
    replace: `(use === 'grow' ? 0 * host.words[BREAK_RESERVE] : 0);`,
  },
  {
    name: 'a charge not rolled back',
    file: PLACEMENT,
    find: `  Atomics.sub(words, entry + VM_CHARGED, 1);
`,
    replace: ``,
  },
  {
    name: 'a lost wake-up after a move',
    file: PLACEMENT,
    find: `  if (somebodyWaits) yield* wakeWaitersSteps(host);`,
    replace: ``,
  },
  {
    name: 'tables of a dying VM freed under the worker',
    file: 'src/host-memory/readers.ts',
    find: `if (phases.every((phase) => phase % 2 === 0)) yield*`,
    replace: `if (phases.length > 0) yield*`,
  },
  {
    name: 'retired tables freed while the reading goes on',
    file: 'src/host-memory/readers.ts',
    find: `phases[reader] % 2 === 0 || phaseOf(host, reader) !== phases[reader])) continue;`,
    replace: `phases[reader] % 2 === 0 || phaseOf(host, reader) !== phases[reader] - 1)) continue;`,
  },
  {
    name: 'an absent page of a restored VM is not counted',
    file: 'src/guest-memory/restore.ts',
    find: `    words[account + VM_ABSENT] += absent;
`,
    replace: ``,
  },
  {
    name: 'a restored leaf has the numbers of the first one',
    file: 'src/guest-memory/restore.ts',
    find: `ABSENT | (firstHandle + first + i)`,
    replace: `ABSENT | (firstHandle + i)`,
  },
  {
    name: 'a page of a leaf that forks share is changed where it is',
    file: 'src/guest-memory/shared-leaf.ts',
    find: `if (Atomics.load(words, tablePageWord(host, old)) === 1) {`,
    replace: `if (Atomics.load(words, tablePageWord(host, old)) >= 1) {`,
  },
];
