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
 * Moves `from`, `to` forward over `count` ≥ 0 bytes, copying vectors: up to 15 bytes beyond the end are read and written. The bytes must be
 * the caller's, and `to` not within 16 bytes behind `from`. Counts `count` down to 0 or below.
 */
export function copyVectors(fn: Fn, to: Local<'i32'>, from: Local<'i32'>, count: Local<'i32'>): void {
  whileTrue(fn, i32.gt_s(count, 0), () => {
    fn.store(v128.store, to, v128.load(from));
    for (const pointer of [to, from]) advance(fn, pointer, VECTOR);
    fn.set(count, i32.sub(count, VECTOR));
  });
}
