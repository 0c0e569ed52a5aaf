/**
 * Readers without locks: whoever walks the tables of guests that it does not own (the memory worker, the main thread when it shows a map).
 *
 * A table page that nothing leads to any more may still be under such a reader's eyes. Each reader has a word that is odd while it reads; who
 * retires a page notes the words, and frees the page once every reader that was at it then has moved on. A reader that begins later
 * cannot find the page. Readers wait for nobody, and read for microseconds to a millisecond at a time.
 */
import type { HostMemory } from './host-memory.ts';
import type { Steps } from './steps.ts';
import { freeTablePagesSteps } from './table-pages.ts';
import { READER_PHASES } from './tables.ts';

export const READER_WORKER = 0;
export const READER_MAIN = 1;
const READERS = [READER_WORKER, READER_MAIN] as const;
export type Reader = (typeof READERS)[number];

/** Table pages that wait for readers, with the readers' words of then. */
export interface RetiredTables {
  readonly pages: readonly number[];
  readonly phases: readonly number[];
}

/** From here to `endReading`, tables that are found stay what they are, or at least tables of nobody else. Not nested. */
export function beginReading(host: HostMemory, reader: Reader): void {
  Atomics.add(host.words, READER_PHASES + reader, 1);
}

export function endReading(host: HostMemory, reader: Reader): void {
  Atomics.add(host.words, READER_PHASES + reader, 1);
}

const phaseOf = (host: HostMemory, reader: Reader): number => Atomics.load(host.words, READER_PHASES + reader);

/** Frees table pages that no table leads to any more: now if nobody reads, else when `freeRetiredSteps` finds the readers gone. */
export function* retireTablePagesSteps(host: HostMemory, pages: readonly number[]): Steps<void> {
  if (pages.length === 0) return;
  yield 'tables:retire';
  const phases = READERS.map((reader) => phaseOf(host, reader));
  if (phases.every((phase) => phase % 2 === 0)) yield* freeTablePagesSteps(host, pages);
  else host.retired.push({ pages, phases });
}

/** Frees what this thread retired and nobody reads any more. */
export function* freeRetiredSteps(host: HostMemory): Steps<void> {
  for (let i = host.retired.length - 1; i >= 0; i--) {
    const { pages, phases } = host.retired[i];
    yield 'tables:readers';
    if (!READERS.every((reader) => phases[reader] % 2 === 0 || phaseOf(host, reader) !== phases[reader])) continue;
    host.retired.splice(i, 1);
    yield* freeTablePagesSteps(host, pages);
  }
}
