/**
 * LZ4 decompression into one frame, of bytes that nobody vouches for.
 *
 * `input` and `output` count bytes from `from` and from the start of the frame. At every step 0 ≤ input ≤ length and 0 ≤ output ≤ 4096;
 * each byte is read once, after a check that it is there; each copy is checked against what is left on both sides. A copy of vectors goes
 * up to 16 bytes too far only where so many are left, and the next sequence writes over them.
 */
import { PAGE_SIZE } from '../../base/numbers.ts';
import { type Fn, type I32, i32, type Local, type Mod, v128 } from '../../wasm/index.ts';
import { frameAddress } from './frame-address.ts';
import { advance, BYTE_FULL, copyVectors, HALF_FULL, MATCH_MIN, VECTOR, whileTrue } from './lz4-format.ts';

type Word = Local<'i32'>;

interface Decompression {
  readonly fn: Fn;
  readonly from: Word;
  readonly length: Word;
  /** Address of the frame. */
  readonly base: Word;
  readonly input: Word;
  readonly output: Word;
}

/** `decompressToFrame(from, length, frame)`: 1, or 0 for bytes that are no block of exactly a page. */
export function emitDecompress(m: Mod): void {
  const fn = m.fn(['i32', 'i32', 'i32'], 'i32', 'decompressToFrame');
  const [from, length] = [fn.param<'i32'>(0), fn.param<'i32'>(1)];
  const base = frameAddress(fn, 2);
  const [input, output, token, count] = [fn.local('i32'), fn.local('i32'), fn.local('i32'), fn.local('i32')];
  const d: Decompression = { fn, from, length, base, input, output };
  fn.loop((next) => {
    readByte(d, token);
    fn.set(count, i32.shr_u(token, 4));
    readFurther(d, count);
    emitLiterals(d, count);
    // Only the last sequence ends with its literals.
    fn.if(i32.eq(input, length), () => fn.ret(i32.eq(output, PAGE_SIZE)), undefined, 'unlikely');
    emitMatch(d, token, count);
    fn.br(next);
  });
  fn.unreachable();
}

const refuseIf = (fn: Fn, condition: I32): void => fn.if(condition, () => fn.ret(i32.const(0)), undefined, 'unlikely');

function readByte({ fn, from, length, input }: Decompression, into: Word): void {
  refuseIf(fn, i32.ge_u(input, length));
  fn.set(into, i32.load8_u(i32.add(from, input)));
  advance(fn, input, 1);
}

/** Adds the bytes that follow a full half of a token. A length beyond a page ends it, so that no sum can wrap. */
function readFurther(d: Decompression, count: Word): void {
  const { fn } = d;
  const byte = fn.local('i32');
  fn.if(
    i32.eq(count, HALF_FULL),
    () => {
      fn.loop((again) => {
        readByte(d, byte);
        advance(fn, count, byte);
        refuseIf(fn, i32.gt_u(count, PAGE_SIZE));
        fn.brIf(again, i32.eq(byte, BYTE_FULL));
      });
    },
    undefined,
    'unlikely',
  );
}

function emitLiterals({ fn, from, length, base, input, output }: Decompression, count: Word): void {
  const [target, source, leftIn, leftOut] = Array.from({ length: 4 }, () => fn.local('i32'));
  fn.set(leftIn, i32.sub(length, input));
  fn.set(leftOut, i32.sub(PAGE_SIZE, output));
  refuseIf(fn, i32.or(i32.gt_u(count, leftIn), i32.gt_u(count, leftOut)));
  fn.set(target, i32.add(base, output));
  fn.set(source, i32.add(from, input));
  for (const side of [input, output]) advance(fn, side, count);
  const farFromEnds = [leftIn, leftOut].map((left) => i32.ge_u(i32.sub(left, count), VECTOR));
  fn.if(
    i32.and(farFromEnds[0], farFromEnds[1]),
    () => copyVectors(fn, target, source, count),
    () => fn.memoryCopy(target, source, count),
  );
}

function emitMatch(d: Decompression, token: Word, count: Word): void {
  const { fn, from, length, base, input, output } = d;
  const [distance, target, source, left] = Array.from({ length: 4 }, () => fn.local('i32'));
  refuseIf(fn, i32.lt_u(i32.sub(length, input), 2));
  fn.set(distance, i32.load16_u(i32.add(from, input)));
  advance(fn, input, 2);
  refuseIf(fn, i32.or(i32.eqz(distance), i32.gt_u(distance, output)));
  fn.set(count, i32.and(token, HALF_FULL));
  readFurther(d, count);
  advance(fn, count, MATCH_MIN);
  fn.set(left, i32.sub(PAGE_SIZE, output));
  refuseIf(fn, i32.gt_u(count, left));
  fn.set(left, i32.sub(left, count));
  fn.set(target, i32.add(base, output));
  fn.set(source, i32.sub(target, distance));
  advance(fn, output, count);
  fn.if(i32.lt_u(distance, VECTOR), () => widen(fn, target, source, count, distance), undefined, 'unlikely');
  fn.if(
    i32.ge_u(left, VECTOR),
    () => copyVectors(fn, target, source, count),
    () => copyToTheByte(fn, target, source, count),
  );
}

/**
 * A match nearer than a vector repeats itself. Its first bytes one by one, until the source, which stays where it is, lies a whole number of
 * periods and at least a vector back.
 */
function widen(fn: Fn, target: Word, source: Word, count: Word, distance: Word): void {
  const enough = fn.local('i32');
  fn.set(enough, distance);
  whileTrue(fn, i32.lt_u(enough, VECTOR), () => advance(fn, enough, distance));
  whileTrue(fn, i32.and(i32.lt_u(i32.sub(target, source), enough), i32.ne(count, 0)), () => {
    fn.store(i32.store8, target, i32.load8_u(i32.sub(target, distance)));
    advance(fn, target, 1);
    advance(fn, count, -1);
  });
}

function copyToTheByte(fn: Fn, target: Word, source: Word, count: Word): void {
  whileTrue(fn, i32.ge_u(count, VECTOR), () => {
    fn.store(v128.store, target, v128.load(source));
    for (const pointer of [target, source]) advance(fn, pointer, VECTOR);
    advance(fn, count, -VECTOR);
  });
  whileTrue(fn, count, () => {
    fn.store(i32.store8, target, i32.load8_u(source));
    for (const pointer of [target, source]) advance(fn, pointer, 1);
    advance(fn, count, -1);
  });
}
