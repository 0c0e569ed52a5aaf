/** A compressed page as one piece: where it lies, or joined from its two objects. */
import type { HostMemory } from '../host-memory/index.ts';
import type { Steps } from '../host-memory/steps.ts';
import { firstBytesOf, secondClassOf } from './object-sizes.ts';
import * as t from './store-table.ts';

/**
 * Byte address of the compressed page of the slot whose words begin at `at`, which `where` was the first of: its own, or `join`, a page that only this
 * thread uses. What is found there is anything if the page has moved meanwhile; who is not the writer looks at that word again.
 */
export function* joinSteps(host: HostMemory, words: Int32Array, at: number, where: number, join: number): Steps<number> {
  const from = t.placeOf(where) * t.PLACE_UNIT;
  const length = words[at + t.SLOT_LENGTH];
  if (secondClassOf(length) < 0) return from;
  const middle = firstBytesOf(length);
  host.bytes.copyWithin(join, from, from + middle);
  yield 'store:join';
  const second = words[at + t.SLOT_SECOND] * t.PLACE_UNIT;
  host.bytes.copyWithin(join + middle, second, second + length - middle);
  return join;
}
