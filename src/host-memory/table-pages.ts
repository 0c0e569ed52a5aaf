/**
 * Pages for the tables of guests (directories, leaves), from a region of their own, so that no frame is ever a table.
 *
 * A page in use has its reference count in its word (a leaf may be shared by forks); a free one links to the next. Free pages are on the
 * dirty list or, once returned to the host OS, on the clean one; pages above the break were never used and are zero.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import type { HostMemory } from './host-memory.ts';
import { LOCK_CHUNKS, lock, unlock } from './locks.ts';
import type { Steps } from './steps.ts';
import { SYSTEM_CALLS, TABLE_BREAK, TABLE_CLEAN_HEAD, TABLE_DIRTY_HEAD, TABLES_IN_USE, WAITER_COUNT } from './tables.ts';
import { wakeWaitersSteps } from './waiters.ts';

/** Word index of the word of the table page with this page number (byte address / 4096). */
export const tablePageWord = (host: HostMemory, page: number): number => host.tableWords + page - host.firstTablePage;

/** "chunk set" is held. 0: the list is empty. */
function pop(host: HostMemory, head: number): number {
  const words = host.words;
  const page = words[head];
  if (page !== 0) words[head] = words[tablePageWord(host, page)];
  return page;
}

function push(host: HostMemory, head: number, page: number): void {
  const words = host.words;
  Atomics.store(words, tablePageWord(host, page), words[head]);
  words[head] = page;
}

/** A zeroed table page with one reference, by page number; 0 when the region is full. */
export function* allocateTablePageSteps(host: HostMemory): Steps<number> {
  const words = host.words;
  yield 'tables:start';
  if (host.refuse('tables')) return 0;
  yield* lock(host, LOCK_CHUNKS);
  yield 'tables:take';
  let page = pop(host, TABLE_DIRTY_HEAD);
  const dirty = page !== 0;
  if (page === 0) page = pop(host, TABLE_CLEAN_HEAD);
  if (page === 0 && words[TABLE_BREAK] < host.tablePageCount) page = host.firstTablePage + words[TABLE_BREAK]++;
  if (page !== 0) {
    Atomics.store(words, tablePageWord(host, page), 1);
    Atomics.add(words, TABLES_IN_USE, 1);
  }
  unlock(host, LOCK_CHUNKS);
  if (dirty) host.kernels.zeroFrame(page);
  return page;
}

/** Frees table pages whose last reference is gone. One mutex for all of them. */
export function* freeTablePagesSteps(host: HostMemory, pages: readonly number[]): Steps<void> {
  if (pages.length === 0) return;
  yield* lock(host, LOCK_CHUNKS);
  yield 'tables:free';
  for (const page of pages) push(host, TABLE_DIRTY_HEAD, page);
  Atomics.sub(host.words, TABLES_IN_USE, pages.length);
  const somebodyWaits = host.words[WAITER_COUNT] !== 0;
  unlock(host, LOCK_CHUNKS);
  if (somebodyWaits) yield* wakeWaitersSteps(host);
}

/** Gives up to `max` free table pages back to the host OS. Bytes given back. */
export function* returnTablePagesSteps(host: HostMemory, max: number): Steps<number> {
  if (!host.platform.canReturnMemory || Atomics.load(host.words, TABLE_DIRTY_HEAD) === 0) return 0;
  const pages: number[] = [];
  yield* lock(host, LOCK_CHUNKS);
  yield 'tables:return';
  for (let page = 0; pages.length < max; pages.push(page)) {
    page = pop(host, TABLE_DIRTY_HEAD);
    if (page === 0) break;
  }
  unlock(host, LOCK_CHUNKS);
  pages.sort((a, b) => a - b);
  let returned = true;
  for (let i = 0; i < pages.length; ) {
    let end = i + 1;
    while (end < pages.length && pages[end] === pages[end - 1] + 1) end++;
    Atomics.add(host.words, SYSTEM_CALLS, 1);
    returned = host.platform.returnMemory(host.memory, pages[i] * PAGE_SIZE, (end - i) * PAGE_SIZE) && returned;
    i = end;
  }
  yield* lock(host, LOCK_CHUNKS);
  for (const page of pages) push(host, returned ? TABLE_CLEAN_HEAD : TABLE_DIRTY_HEAD, page);
  const somebodyWaits = host.words[WAITER_COUNT] !== 0;
  unlock(host, LOCK_CHUNKS);
  if (somebodyWaits) yield* wakeWaitersSteps(host);
  return pages.length * PAGE_SIZE;
}
