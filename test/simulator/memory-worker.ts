/**
 * The memory worker, as far as it meets others: it walks the tables of VMs that it does not own, reads their pages without locks, and nominates
 * what it found quiet. Which pages are worth it is no matter here; it asks for anything that it may ask for, at random.
 */
import { assert } from '../../src/base/assert.ts';
import { ENTRY_STAMP, ENTRY_WORDS, frameOf, identityOf, PRIVATE, SHARED, stateOf } from '../../src/guest-memory/page-entry.ts';
import { TABLE_PAGE } from '../../src/guest-memory/page-table.ts';
import { unstampedMoves } from '../../src/guest-memory/write-clock.ts';
import { lifeOf } from '../../src/host-memory/accounts.ts';
import { chunkOfFrame, domainOfFrame, fullerChunk } from '../../src/host-memory/chunk-set.ts';
import { FRAME_SHARED, frameState } from '../../src/host-memory/frame-entry.ts';
import { frameEntry, generationOf, hasSoleReference } from '../../src/host-memory/frame-table.ts';
import { FILE_DOMAIN, type HostMemory } from '../../src/host-memory/index.ts';
import { beginReading, endReading, READER_WORKER } from '../../src/host-memory/readers.ts';
import { allocateSharedSteps, releaseManySteps } from '../../src/host-memory/shared-frames.ts';
import type { Steps } from '../../src/host-memory/steps.ts';
import { VM_ALIVE, VM_DOMAIN, VM_EPOCH, VM_ROOT, VM_STATE, VM_THREAD } from '../../src/host-memory/tables.ts';
import { type Nomination, type NominationKind, namesItsLife } from './nominations.ts';
import type { Owner } from './owner.ts';
import { CONTENTS_MANY_HAVE } from './owner.ts';
import { FIRST, LAST } from './store.ts';
import type { World } from './world.ts';

/** Nominations that one ring holds. */
const RING = 12;
/** Pages looked at in one reading, at most. */
const READING_PAGES = 5;
const OBSERVATIONS = 12;

/** A page that was quiet. */
interface Sighting {
  readonly vm: number;
  readonly thread: number;
  readonly domain: number;
  readonly page: number;
  readonly identity: number;
  readonly stamp: number;
  readonly word: number;
}

/** A shared frame, and what is in it. Without a reference of its own it may have gone. */
interface Target {
  readonly frame: number;
  readonly generation: number;
}

export class MemoryWorker {
  readonly #world: World;
  readonly #host: HostMemory;
  readonly #owners: readonly Owner[];
  /** By content and domain. */
  readonly #targets = new Map<number, Target>();
  readonly #copying = new Set<number>();

  constructor(world: World, host: HostMemory, owners: readonly Owner[]) {
    this.#world = world;
    this.#host = host;
    this.#owners = owners;
  }

  *life(): Steps<void> {
    for (;;) {
      yield 'worker:idle';
      yield* this.#hearSteps();
      if (this.#world.random.oneIn(3)) yield* this.#forgetSteps();
      const found = yield* this.#readSteps();
      for (let i = 0; i < found.length; i++) yield* this.#nominateSteps(found[i], found[i + 1]);
    }
  }

  /** What became of what it asked for. */
  *#hearSteps(): Steps<void> {
    for (const { ring } of this.#owners) {
      for (let nomination = ring.served.shift(); nomination; nomination = ring.served.shift()) {
        const { kind, outcome, stored, target, generation, word, domain } = nomination;
        if (stored !== null && outcome !== 'done') this.#world.store.free(stored);
        if (kind !== 'shareFirst') continue;
        this.#copying.delete(keyOf(domain, word));
        const has = this.#host.words[target * 1024 + FIRST];
        const asked = this.#world.filling.get(target) ?? 0;
        // Of two for one frame, the later is carried out only when the earlier one's page has gone again, and then its bytes are there.
        const asSeen = outcome !== 'done' || has === word || asked > 1 || !namesItsLife(nomination);
        assert(asSeen, `frame ${target} has not what its first page was seen to have`);
        if (outcome === 'done') this.#targets.set(keyOf(domain, has), { frame: target, generation });
        if (asked > 1) this.#world.filling.set(target, asked - 1);
        else {
          this.#world.filling.delete(target);
          if (hasSoleReference(this.#host, target) && this.#world.letGoOf(target)) yield* releaseManySteps(this.#host, [target]);
        }
      }
    }
  }

  /** Gives up a reference, also while nominations wait that name its frame: they name its generation, too. */
  *#forgetSteps(): Steps<void> {
    const { random, filling } = this.#world;
    for (const { frame } of this.#targets.values()) {
      if (!random.oneIn(3) || filling.has(frame) || !this.#world.letGoOf(frame)) continue;
      yield* releaseManySteps(this.#host, [frame]);
      return;
    }
  }

  /** Some pages of one leaf of one VM, whichever is in that slot now. */
  *#readSteps(): Steps<Sighting[]> {
    const host = this.#host;
    const { words } = host;
    const { random, pinned } = this.#world;
    const found: Sighting[] = [];
    let slot = random.below(host.map.vmCountMax);
    const isAlive = () => Atomics.load(words, host.vmEntry(slot) + VM_STATE) === VM_ALIVE;
    for (let i = 1; i < host.map.vmCountMax && !isAlive(); i++) slot = (slot + 1) % host.map.vmCountMax;
    const entry = host.vmEntry(slot);
    if (!isAlive()) return found;
    beginReading(host, READER_WORKER);
    yield 'worker:root';
    const vm = lifeOf(host, slot);
    const [thread, domain] = [words[entry + VM_THREAD], words[entry + VM_DOMAIN]];
    const directory = words[entry + VM_ROOT] & TABLE_PAGE;
    if (directory !== 0) {
      pinned.add(directory);
      yield 'worker:directory';
      const number = random.below(2);
      const below = words[directory * 1024 + number];
      const leaf = below & TABLE_PAGE;
      // What forks share is left alone; owners refuse it, which is seen now and then.
      if (leaf !== 0 && (below > 0 || random.oneIn(8))) {
        pinned.add(leaf);
        yield 'worker:leaf';
        for (let i = 0; i < READING_PAGES; i++) {
          const page = number * 512 + random.below(10);
          const seen = yield* this.#lookSteps(slot, page, leaf * 1024 + (page % 512) * ENTRY_WORDS);
          if (seen) found.push({ vm, thread, domain, page, ...seen });
        }
      }
    }
    endReading(host, READER_WORKER);
    pinned.clear();
    return found;
  }

  /** One page by its entry: state, stamp, bytes, and both again. */
  *#lookSteps(slot: number, page: number, at: number): Steps<Pick<Sighting, 'identity' | 'stamp' | 'word'> | null> {
    const host = this.#host;
    const { words } = host;
    const moves = unstampedMoves(host, slot);
    const identity = identityOf(Atomics.load(words, at));
    const stamp = Atomics.load(words, at + ENTRY_STAMP);
    if (stateOf(identity) !== PRIVATE && stateOf(identity) !== SHARED) return null;
    // Older, not merely another: held pages have the next epoch's stamp before that epoch is there.
    if (((Atomics.load(words, host.vmEntry(slot) + VM_EPOCH) - stamp) | 0) <= 0) return null;
    const life = lifeOf(host, slot);
    const first = words[frameOf(identity) * 1024 + FIRST];
    yield 'worker:bytes';
    const last = words[frameOf(identity) * 1024 + LAST];
    yield 'worker:again';
    if (identityOf(Atomics.load(words, at)) !== identity || Atomics.load(words, at + ENTRY_STAMP) !== stamp) return null;
    if (unstampedMoves(host, slot) !== moves || lifeOf(host, slot) !== life) return null;
    const owner = this.#owners.find(({ guest }) => guest !== null && guest.vm === slot);
    // A VM that dies now leaves its tables, and pages in them that it has no more; it refuses all.
    if (!owner?.guest || owner.guest.dying || Atomics.load(words, host.vmEntry(slot) + VM_STATE) !== VM_ALIVE) return null;
    assert(first === last, `VM ${slot}: page ${page} with stamp ${stamp} was seen as ${first} and ${last}`);
    this.#world.observations.push({ guest: owner.guest, page, identity, stamp, word: first });
    if (this.#world.observations.length > OBSERVATIONS) this.#world.observations.shift();
    this.#learn(frameOf(identity), first);
    return { identity, stamp, word: first };
  }

  /** A frame that is shared already may serve others, too. */
  #learn(frame: number, word: number): void {
    const host = this.#host;
    if (frameState(Atomics.load(host.words, frameEntry(host, frame))) !== FRAME_SHARED) return;
    const domain = domainOfFrame(host, frame);
    if (domain !== FILE_DOMAIN) this.#targets.set(keyOf(domain, word), { frame, generation: generationOf(host, frame) });
  }

  *#nominateSteps(sighting: Sighting, next: Sighting | undefined): Steps<void> {
    const { random, store } = this.#world;
    // Also to a thread that has no such VM.
    const owner = this.#owners[random.oneIn(12) ? random.below(this.#owners.length) : sighting.thread];
    if (owner === undefined || owner.ring.open >= RING) return;
    const { word, domain } = sighting;
    const submit = (kind: NominationKind, more: Partial<Nomination> = {}) =>
      owner.ring.waiting.push({ ...sighting, kind, target: 0, generation: 0, stored: null, outcome: 'waits', ...more });
    if (word === 0 && !random.oneIn(4)) return void submit('zero');
    const sparse = stateOf(sighting.identity) === PRIVATE && this.#hasBetterPlace(frameOf(sighting.identity));
    if (sparse && !random.oneIn(3)) return void submit('move');
    // Equal pages are what it is for.
    switch (random.below(word < CONTENTS_MANY_HAVE ? 14 : 7)) {
      case 0:
        return void submit(random.oneIn(2) ? 'ageEpoch' : 'age');
      case 1:
        return void submit('move');
      case 2:
      case 3:
        return void submit('park', { stored: store.put(word, word) });
      default: {
        const known = this.#targets.get(keyOf(domain, word));
        if (known?.frame === frameOf(sighting.identity)) return;
        if (known && !random.oneIn(6)) {
          // Now and then it is what it remembers of a life before, and the frame has the same bytes again.
          const generation = random.oneIn(8) ? (known.generation - 1) & 0xfff : known.generation;
          return void submit('shareFurther', { target: known.frame, generation });
        }
        // Further pages wait until the first has been copied.
        if (word >= CONTENTS_MANY_HAVE ? random.oneIn(2) : this.#copying.has(keyOf(domain, word))) return;
        const target = yield* this.#freshTargetSteps(domain, word);
        if (target === 0) return;
        const generation = generationOf(this.#host, target);
        submit('shareFirst', { target, generation });
        this.#copying.add(keyOf(domain, word));
        // By mistake it may ask for one frame twice.
        if (next === undefined || next.domain !== domain || !random.oneIn(4) || owner.ring.open >= RING) return;
        this.#world.filling.set(target, 2);
        owner.ring.waiting.push({ ...next, kind: 'shareFirst', target, generation, stored: null, outcome: 'waits' });
      }
    }
  }

  /** A hint. */
  #hasBetterPlace(frame: number): boolean {
    const chunk = chunkOfFrame(this.#host, frame);
    const domain = domainOfFrame(this.#host, frame);
    return fullerChunk(this.#host, domain, chunk) >= 0;
  }

  /** A frame for the first of equal pages; the worker's reference is counted, and kept until the outcome is there. 0: there is none. */
  *#freshTargetSteps(domain: number, word: number): Steps<number> {
    const frames = yield* allocateSharedSteps(this.#host, domain, 1);
    if (frames === null) return 0;
    this.#world.keep(frames[0]);
    this.#world.filling.set(frames[0], 1);
    yield 'worker:fill';
    // No owner may rely on it.
    if (this.#world.random.oneIn(2)) this.#world.setWord(frames[0], word);
    return frames[0];
  }
}

const keyOf = (domain: number, word: number): number => word * 4 + domain;
