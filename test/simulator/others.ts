/** Who else is there: the I/O thread, the image cache, the idle thread that returns memory, a reader without locks, the main thread. */
import { assert } from '../../src/base/assert.ts';
import { ENTRY_STAMP, frameOf, PRIVATE, stateOf } from '../../src/guest-memory/page-entry.ts';
import { entryOf } from '../../src/guest-memory/page-table.ts';
import { generationOf, retainSteps } from '../../src/host-memory/frame-table.ts';
import { FILE_DOMAIN, type HostMemory } from '../../src/host-memory/index.ts';
import { returnFreeRunsSteps, returnShortRunsSteps } from '../../src/host-memory/return-to-host.ts';
import { allocateSharedSteps, releaseManySteps } from '../../src/host-memory/shared-frames.ts';
import type { Steps } from '../../src/host-memory/steps.ts';
import { returnTablePagesSteps } from '../../src/host-memory/table-pages.ts';
import { VM_EPOCH } from '../../src/host-memory/tables.ts';
import { type Owner, PAGES } from './owner.ts';
import { CONTENTS, contentWord, type World } from './world.ts';

/** Devices write held pages, whatever their guests do meanwhile. */
export function* ioThread(world: World, owners: readonly Owner[]): Steps<void> {
  for (;;) {
    yield 'io:idle';
    const owner = owners[world.random.below(owners.length)];
    const open = owner.holds.find(({ write }) => write);
    if (!open || open.hold.segments.length === 0) continue;
    yield 'io:dma';
    if (!owner.holds.includes(open)) continue;
    const value = (99 << 24) | (world.nextValue++ + 10_000);
    const { buffer, byteOffset } = open.hold.segments[0];
    world.setWord(byteOffset / 4096, value);
    assert(buffer === world.host.memory.buffer, 'a segment is no view of the arena');
    owner.values[open.page] = value;
  }
}

/** Keeps some image pages by references of its own, and lets go of them. */
export function* imageCache(world: World, host: HostMemory): Steps<void> {
  for (;;) {
    yield 'cache:idle';
    const content = world.random.below(CONTENTS);
    const cached = world.cache[content];
    if (world.random.oneIn(2)) {
      const frame = world.letGo();
      if (frame !== 0) yield* releaseManySteps(host, [frame]);
    } else if (cached.frame !== 0 && (yield* retainSteps(host, cached.frame, cached.generation))) {
      world.keep(cached.frame);
      assert(host.words[cached.frame * 1024] === contentWord(content), `frame ${cached.frame} is not what the cache remembers`);
    } else {
      const fresh = yield* allocateSharedSteps(host, FILE_DOMAIN, 1);
      if (fresh === null) continue;
      world.setWord(fresh[0], contentWord(content));
      world.keep(fresh[0]);
      world.cache[content] = { frame: fresh[0], generation: generationOf(host, fresh[0]) };
    }
  }
}

/** Gives free memory back to the operating system. */
export function* idleThread(world: World, host: HostMemory): Steps<void> {
  for (;;) {
    yield 'return:idle';
    if (world.random.oneIn(2)) yield* returnFreeRunsSteps(host, 1 + world.random.below(3));
    if (world.random.oneIn(4)) yield* returnShortRunsSteps(host);
    if (world.random.oneIn(6)) yield* returnTablePagesSteps(host, 4);
  }
}

/**
 * The idle worker, as far as it goes here: it reads entry, stamp and bytes without locks, and remembers what was quiet. As long as the stamp is the
 * same, the bytes must be. That is what the write clock promises.
 */
export function* observer(world: World, owners: readonly Owner[]): Steps<void> {
  for (;;) {
    yield 'observe:idle';
    const owner = owners[world.random.below(owners.length)];
    const { guest } = owner;
    if (guest === null || guest.dying) continue;
    const page = world.random.below(PAGES);
    const at = entryOf(guest, guest.ranges.pageOf(owner.gfnOf(page)));
    if (at === 0) continue;
    const [entry, stamp] = [guest.words[at], guest.words[at + ENTRY_STAMP]];
    // Older, not merely another: held pages have the next epoch's stamp before that epoch is there.
    if (stateOf(entry) !== PRIVATE || ((guest.words[guest.account + VM_EPOCH] - stamp) | 0) <= 0) continue;
    yield 'observe:read';
    const word = guest.words[frameOf(entry) * 1024];
    yield 'observe:again';
    if (guest.dying || guest.words[at] !== entry || guest.words[at + ENTRY_STAMP] !== stamp) continue;
    world.observations.push({ guest, at, entry, stamp, word });
    if (world.observations.length > 16) world.observations.shift();
  }
}

/** Holds what the observer found against what is there now. */
export function checkObservations(world: World): void {
  world.observations = world.observations.filter(({ guest, at, entry, stamp, word }) => {
    if (guest.dying || guest.words[at] !== entry || guest.words[at + ENTRY_STAMP] !== stamp) return false;
    const now = guest.words[frameOf(entry) * 1024];
    assert(now === word, `VM ${guest.vm}: a page with stamp ${stamp} changed from ${word} to ${now}`);
    return true;
  });
}

/** The main thread shows numbers, without a lock. */
export function* mainThread(host: HostMemory): Steps<void> {
  for (;;) {
    yield 'main:look';
    const { framesInUse, framesPeak, framesByState } = host.poolMemory();
    assert(framesInUse >= 0 && framesPeak >= framesInUse, `${framesInUse} frames in use, the peak is ${framesPeak}`);
    for (const count of Object.values(framesByState)) assert(count >= 0, 'a count fell below zero');
  }
}
