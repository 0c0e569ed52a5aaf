/**
 * The LZ4 block format, as far as one page needs it.
 *
 * A block is a list of sequences: a token (number of literals in the high half, length of the match − 4 in the low half; a half of 15 goes on
 * in bytes that are added up to and with the first that is not 255), the literals, the distance back to the match in two bytes. The last
 * sequence is literals only. A match starts at least 12 bytes before the end and ends at least 5 before it.
 */
import { type Fn, type I32, i32, type Label, type Local, type V, v128 } from '../../wasm/index.ts';

export const MATCH_MIN = 4;
/** A half of a token that says: more in the bytes that follow. */
export const HALF_FULL = 15;
/** A further byte that says: and more. */
export const BYTE_FULL = 255;
/** No match starts beyond, or reaches beyond, so many bytes before the end. */
export const MATCH_START_MARGIN = 12;
export const MATCH_END_MARGIN = 5;

export const VECTOR = 16;

/** Repeats `body` while `condition` holds; `leave` breaks out. */
export function whileTrue(fn: Fn, condition: I32, body: (leave: Label) => void): void {
  fn.block((leave) => {
    fn.loop((again) => {
      fn.brIf(leave, i32.eqz(condition));
      body(leave);
      fn.br(again);
    });
  });
}

export const advance = (fn: Fn, local: Local<'i32'>, by: V<'i32'>): void => fn.set(local, i32.add(local, by));

/**
 * Copies `count` ≥ 0 bytes as one vector or more, so up to 16 bytes beyond the end are read and written: they must be the caller's. What counts
 * must not lie within 16 bytes behind its source. Moves `to` and `from`, and counts `count` down to 0 or below.
 *
 * One vector at least: most runs are no longer, and "none or one" would be a branch that nobody predicts.
 */
export function copyVectors(fn: Fn, to: Local<'i32'>, from: Local<'i32'>, count: Local<'i32'>): void {
  fn.loop((again) => {
    fn.store(v128.store, to, v128.load(from));
    for (const pointer of [to, from]) advance(fn, pointer, VECTOR);
    advance(fn, count, -VECTOR);
    fn.brIf(again, i32.gt_s(count, 0), 'unlikely');
  });
}
