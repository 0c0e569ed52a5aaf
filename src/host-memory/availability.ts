/**
 * How much there is for somebody. A free frame serves only the domain and kind whose chunk it lies in, unless its chunk is wholly free.
 *
 * Not for who comes first when several want the same: waiters.ts.
 */
import { CHUNK_FRAMES } from '../layout/arena.ts';
import { classFreeFrames } from './chunk-set.ts';
import type { HostMemory } from './host-memory.ts';
import { BREAK_RESERVE, EMERGENCY_RESERVE, EMPTY_FRAMES, TABLE_BREAK, TABLE_CLEAN_HEAD, TABLE_DIRTY_HEAD } from './tables.ts';

/** A VM's entry records what it waits for by the place in this list. */
export const FRAME_USES = ['grow', 'break', 'emergency'] as const;
export type FrameUse = (typeof FRAME_USES)[number];

/** Free frames that this use must leave in the pool. */
function keptFrom(host: HostMemory, use: FrameUse): number {
  if (use === 'emergency') return 0;
  return host.words[EMERGENCY_RESERVE] + (use === 'grow' ? host.words[BREAK_RESERVE] : 0);
}

/**
 * Free frames that this use may take now for frames of this domain and kind: from chunks of its own, and (`chunksToo`) from wholly
 * free ones. Other free frames are no use to it. Two things bound it. It leaves as many frames that it could have had as its use must
 * leave; so what breaks have opened of their reserve is not spent on new pages. And a new page opens no chunk of those that hold the
 * reserves, for wholly free chunks alone serve every domain and kind.
 *
 * A hint outside the critical section of "chunk set". Inside, `takeFrames` finds exactly as many.
 */
export function available(host: HostMemory, domain: number, kind: number, use: FrameUse, chunksToo: boolean): number {
  const empty = Atomics.load(host.words, EMPTY_FRAMES);
  const own = Atomics.load(host.words, classFreeFrames(domain, kind));
  const kept = keptFrom(host, use);
  const keptChunks = use === 'grow' ? Math.ceil(kept / CHUNK_FRAMES) * CHUNK_FRAMES : 0;
  const opened = chunksToo ? Math.max(0, empty - keptChunks) : 0;
  return Math.max(0, Math.min(own + empty - kept, own + opened));
}

/** A hint outside the critical section of "chunk set". */
export function hasFreeTablePage(host: HostMemory): boolean {
  const { words } = host;
  if (Atomics.load(words, TABLE_DIRTY_HEAD) !== 0 || Atomics.load(words, TABLE_CLEAN_HEAD) !== 0) return true;
  return Atomics.load(words, TABLE_BREAK) < host.tablePageCount;
}
