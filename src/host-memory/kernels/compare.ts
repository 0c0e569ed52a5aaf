/** Is this frame zero, are these two equal? Both look at a block of vectors at a time and leave at the first one that says no. */
import { PAGE_SIZE } from '../../base/numbers.ts';
import { type Fn, type I32, i32, type Mod, type V128, v128 } from '../../wasm/index.ts';
import { frameAddress } from './frame-address.ts';

const VECTOR = 16;
/** Bytes between two looks: larger blocks cost what leaves early, smaller ones cost what does not. */
const ZERO_BLOCK = 256;
const COMPARE_BLOCK = 128;

/** `isZeroFrame(frame)` and `sameFrames(a, b)`, 1 or 0. */
export function emitCompare(m: Mod): void {
  const zero = m.fn(['i32'], 'i32', 'isZeroFrame');
  const at = frameAddress(zero, 0);
  // Most frames that are not zero are not zero at their start.
  leaveIfAny(zero, v128.load(at));
  overBlocks(zero, ZERO_BLOCK, (offset) => v128.load(i32.add(at, offset.base), offset.bytes));

  const same = m.fn(['i32', 'i32'], 'i32', 'sameFrames');
  const [a, b] = [frameAddress(same, 0), frameAddress(same, 1)];
  leaveIfAny(same, v128.xor(v128.load(a), v128.load(b)));
  overBlocks(same, COMPARE_BLOCK, (offset) =>
    v128.xor(v128.load(i32.add(a, offset.base), offset.bytes), v128.load(i32.add(b, offset.base), offset.bytes)),
  );
}

interface Offset {
  readonly base: I32;
  readonly bytes: number;
}

/** 0 as soon as the vectors of one block are not all zero, else 1. */
function overBlocks(fn: Fn, block: number, vectorAt: (offset: Offset) => V128): void {
  const base = fn.local('i32');
  fn.loop((again) => {
    const vectors = Array.from({ length: block / VECTOR }, (_, i) => vectorAt({ base, bytes: i * VECTOR }));
    leaveIfAny(fn, anyOf(vectors));
    fn.set(base, i32.add(base, block));
    fn.brIf(again, i32.ne(base, PAGE_SIZE), 'likely');
  });
  fn.emit(i32.const(1));
}

function leaveIfAny(fn: Fn, vector: V128): void {
  fn.if(v128.anyTrue(vector), () => fn.ret(i32.const(0)), undefined, 'unlikely');
}

/** A tree and not a chain, so that the machine may do its halves at once. */
function anyOf(vectors: readonly V128[]): V128 {
  if (vectors.length === 1) return vectors[0];
  const half = vectors.length / 2;
  return v128.or(anyOf(vectors.slice(0, half)), anyOf(vectors.slice(half)));
}
