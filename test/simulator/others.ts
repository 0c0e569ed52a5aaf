/** Who else is there: the I/O thread, the image cache, the idle thread that returns memory, the main thread. */
import { assert } from '../../src/base/assert.ts';
import { ENTRY_STAMP, frameOf, identityOf } from '../../src/guest-memory/page-entry.ts';
import { entryOf } from '../../src/guest-memory/page-table.ts';
import { generationOf, retainSteps } from '../../src/host-memory/frame-table.ts';
import { FILE_DOMAIN, type HostMemory } from '../../src/host-memory/index.ts';
import { returnFreeRunsSteps, returnShortRunsSteps } from '../../src/host-memory/return-to-host.ts';
import { allocateSharedSteps, releaseManySteps } from '../../src/host-memory/shared-frames.ts';
import type { Steps } from '../../src/host-memory/steps.ts';
import { returnTablePagesSteps } from '../../src/host-memory/table-pages.ts';
import type { Owner } from './owner.ts';
import { CONTENTS, contentWord, type World } from './world.ts';

/** Devices write held pages, whatever their guests do meanwhile; pages that are wanted are read from the store. */
export function* ioThread(world: World, owners: readonly Owner[]): Steps<void> {
  for (;;) {
    yield 'io:idle';
    const owner = owners[world.random.below(owners.length)];
    if (!world.random.oneIn(3) && owner.source.read()) {
      yield 'io:read';
      continue;
    }
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
 * Holds what the memory worker found against what is there now: as long as entry and stamp are the same, the bytes must be, also if the page
 * was somewhere else meanwhile. That is what the write clock promises.
 */
export function checkObservations(world: World): void {
  const { observations } = world;
  let kept = 0;
  for (const seen of observations) {
    const { guest, page, identity, stamp, word } = seen;
    if (guest.dying) continue;
    observations[kept++] = seen;
    const at = entryOf(guest, page);
    if (at === 0 || identityOf(guest.words[at]) !== identity || guest.words[at + ENTRY_STAMP] !== stamp) continue;
    const now = guest.words[frameOf(identity) * 1024];
    assert(now === word, `VM ${guest.vm}: a page with stamp ${stamp} changed from ${word} to ${now}`);
  }
  observations.length = kept;
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
