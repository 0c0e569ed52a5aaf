/**
 * LZ4 compression of one frame: the greedy, single-pass way of the reference implementation, with a table from the hash of four bytes to
 * where they were last seen.
 *
 * Positions are bytes from the start of the frame, `out` is bytes from `to`. Nothing is read outside the frame and the table, and nothing
 * written outside [to, to + limit) and the table, even if another thread writes the frame meanwhile: lengths come from what was compared,
 * never from what is there now. What such a race gives is then a block of some mixture.
 */
import { PAGE_SIZE } from '../../base/numbers.ts';
import { type Callee, call, type Fn, type I32, i32, i64, type Label, type Local, type Mod } from '../../wasm/index.ts';
import { frameAddress } from './frame-address.ts';
import {
  advance,
  BYTE_FULL,
  copyVectors,
  HALF_FULL,
  MATCH_END_MARGIN,
  MATCH_MIN,
  MATCH_START_MARGIN,
  VECTOR,
  whileTrue,
} from './lz4-format.ts';

const TABLE_BITS = 12;
/** Bytes of the table that a compression needs: a 16-bit position for each hash. Cleared at each start, so that equal frames give equal blocks. */
export const COMPRESS_SCRATCH_BYTES = 2 << TABLE_BITS;
/** After so many misses (as a power of two) the search goes on in steps of 2, then of 3: what does not compress costs little. */
const SKIP_BITS = 6;

const MATCH_START_LAST = PAGE_SIZE - MATCH_START_MARGIN;
const MATCH_END_LAST = PAGE_SIZE - MATCH_END_MARGIN;

type Word = Local<'i32'>;

interface Compression {
  readonly fn: Fn;
  /** Address of the frame, of the output, of the table. */
  readonly base: Word;
  readonly to: Word;
  readonly table: Word;
  readonly limit: Word;
  readonly out: Word;
  /** First byte that is not yet written. */
  readonly anchor: Word;
  /** Where a match starts and ends, and where the same bytes were before. */
  readonly start: Word;
  readonly end: Word;
  readonly candidate: Word;
  readonly writeLength: Callee<'i32'>;
}

/** `compressFrame(frame, to, limit, scratch)`: bytes written, or 0 if the block would be longer than `limit`. */
export function emitCompress(m: Mod): void {
  const writeLength = emitWriteLength(m);
  const fn = m.fn(['i32', 'i32', 'i32', 'i32'], 'i32', 'compressFrame');
  const [to, limit, table] = [1, 2, 3].map((i) => fn.param<'i32'>(i));
  const base = frameAddress(fn, 0);
  const [out, anchor, start, end, candidate] = Array.from({ length: 5 }, () => fn.local('i32'));
  const c: Compression = { fn, base, to, table, limit, out, anchor, start, end, candidate, writeLength };

  // A table of zeros names position 0 for every hash, a candidate like another.
  fn.memoryFill(table, 0, COMPRESS_SCRATCH_BYTES);
  fn.set(start, 1);
  fn.block((noMore) => {
    fn.loop((next) => {
      emitSearch(c, noMore);
      emitExtend(c);
      emitSequence(c);
      fn.set(anchor, end);
      fn.set(start, end);
      // Of the positions within the match the table gets one: more of them cost more than they find.
      const late = i32.sub(end, 2);
      fn.store(i32.store16, i32.add(table, hashOffset(i32.load(i32.add(base, late)))), late);
      fn.br(next);
    });
  });
  emitLastLiterals(c);
  fn.emit(out);
}

/** From `start` on, the first four bytes that were seen before; `noMore` when there are none. */
function emitSearch({ fn, base, table, start, candidate }: Compression, noMore: Label): void {
  const [word, slot, misses] = [fn.local('i32'), fn.local('i32'), fn.local('i32')];
  fn.set(misses, 1 << SKIP_BITS);
  fn.block((found) => {
    fn.loop((again) => {
      fn.brIf(noMore, i32.gt_u(start, MATCH_START_LAST), 'unlikely');
      fn.set(word, i32.load(i32.add(base, start)));
      fn.set(slot, i32.add(table, hashOffset(word)));
      fn.set(candidate, i32.load16_u(slot));
      fn.store(i32.store16, slot, start);
      fn.brIf(found, i32.eq(i32.load(i32.add(base, candidate)), word));
      advance(fn, start, i32.shr_u(misses, SKIP_BITS));
      advance(fn, misses, 1);
      fn.br(again);
    });
  });
}

const hashOffset = (word: I32): I32 => i32.shl(i32.shr_u(i32.mul(word, 0x9e3779b1), 32 - TABLE_BITS), 1);

/** Makes the match as long as it can be, `end` first and then `start` towards the literals before it. */
function emitExtend({ fn, base, anchor, start, end, candidate }: Compression): void {
  const [there, difference] = [fn.local('i32'), fn.local('i64')];
  fn.set(end, i32.add(start, MATCH_MIN));
  fn.set(there, i32.add(candidate, MATCH_MIN));
  fn.block((ended) => {
    whileTrue(fn, i32.le_u(end, MATCH_END_LAST - 8), () => {
      fn.set(difference, i64.xor(i64.load(i32.add(base, end)), i64.load(i32.add(base, there))));
      fn.if(i64.ne(difference, 0), () => {
        advance(fn, end, i32.wrap(i64.shr_u(i64.ctz(difference), 3)));
        fn.br(ended);
      });
      for (const position of [end, there]) advance(fn, position, 8);
    });
    whileTrue(fn, i32.lt_u(end, MATCH_END_LAST), (leave) => {
      fn.brIf(leave, i32.ne(i32.load8_u(i32.add(base, end)), i32.load8_u(i32.add(base, there))));
      for (const position of [end, there]) advance(fn, position, 1);
    });
  });
  whileTrue(fn, i32.and(i32.gt_u(start, anchor), i32.ne(candidate, 0)), (leave) => {
    const [here, before] = [start, candidate].map((position) => i32.load8_u(i32.add(base, i32.sub(position, 1))));
    fn.brIf(leave, i32.ne(here, before));
    for (const position of [start, candidate]) advance(fn, position, -1);
  });
}

/** Writes the literals from `anchor` to `start` and the match from `start` to `end`. */
function emitSequence(c: Compression): void {
  const { fn, to, out, anchor, start, end, candidate } = c;
  const [literals, match] = [fn.local('i32'), fn.local('i32')];
  fn.set(literals, i32.sub(start, anchor));
  fn.set(match, i32.sub(i32.sub(end, start), MATCH_MIN));
  emitLiterals(c, literals, match, i32.add(furtherBytes(match), 2));
  fn.store(i32.store16, i32.add(to, out), i32.sub(start, candidate));
  advance(fn, out, 2);
  emitFurther(c, match);
}

function emitLastLiterals(c: Compression): void {
  const literals = c.fn.local('i32');
  c.fn.set(literals, i32.sub(PAGE_SIZE, c.anchor));
  emitLiterals(c, literals, i32.const(0), i32.const(0));
}

/** Token and literals, once it is certain that they and `more` bytes after them fit. `match` is the token's low half, before its bound. */
function emitLiterals(c: Compression, literals: Word, match: I32, more: I32): void {
  const { fn, base, to, limit, out, anchor } = c;
  const [room, target, source] = [fn.local('i32'), fn.local('i32'), fn.local('i32')];
  fn.set(room, i32.sub(limit, out));
  fn.set(room, i32.sub(i32.sub(room, i32.add(furtherBytes(literals), literals)), i32.add(more, 1)));
  fn.if(i32.lt_s(room, 0), () => fn.ret(i32.const(0)), undefined, 'unlikely');
  fn.store(i32.store8, i32.add(to, out), i32.or(i32.shl(half(literals), 4), half(match)));
  advance(fn, out, 1);
  emitFurther(c, literals);
  fn.set(target, i32.add(to, out));
  fn.set(source, i32.add(base, anchor));
  advance(fn, out, literals);
  const readsWithin = i32.le_u(i32.add(anchor, literals), PAGE_SIZE - VECTOR);
  fn.if(
    i32.and(readsWithin, i32.ge_s(room, VECTOR)),
    () => copyVectors(fn, target, source, literals),
    () => fn.memoryCopy(target, source, literals),
  );
}

const isLong = (length: I32): I32 => i32.ge_u(length, HALF_FULL);
/** What the token says of `length`. */
const half = (length: I32): I32 => {
  // min(length, 15), without a branch: for lengths of a page, far below 2^31.
  const beyond = i32.shr_s(i32.sub(HALF_FULL, length), 31);
  return i32.or(i32.and(length, i32.xor(beyond, -1)), i32.and(beyond, HALF_FULL));
};
/** Bytes after the token that tell the rest of `length`: none below 15. */
const furtherBytes = (length: I32): I32 => i32.div_u(i32.add(length, BYTE_FULL - HALF_FULL), BYTE_FULL);

function emitFurther({ fn, to, out, writeLength }: Compression, length: I32): void {
  fn.if(isLong(length), () => advance(fn, out, call(writeLength, i32.add(to, out), length)), undefined, 'unlikely');
}

/** `(address, length ≥ 15)`: writes what the token leaves to say, and gives its number of bytes. */
function emitWriteLength(m: Mod): Callee<'i32'> {
  const fn = m.fn(['i32', 'i32'], 'i32');
  const [at, rest] = [fn.param<'i32'>(0), fn.param<'i32'>(1)];
  const first = fn.local('i32');
  fn.set(first, at);
  fn.set(rest, i32.sub(rest, HALF_FULL));
  whileTrue(fn, i32.ge_u(rest, BYTE_FULL), () => {
    fn.store(i32.store8, at, BYTE_FULL);
    advance(fn, at, 1);
    fn.set(rest, i32.sub(rest, BYTE_FULL));
  });
  fn.store(i32.store8, at, rest);
  fn.emit(i32.sub(i32.add(at, 1), first));
  return fn;
}
