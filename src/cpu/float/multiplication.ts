/** Multiplication, and the 128-bit product that WebAssembly does not have. */
import { type Callee, call, type I64, i32, i64, type Mod, when } from '../../wasm/index.ts';
import { anyOf, isSpecial, isZero, normalize, operand, returnIfNan, returnInvalid, signOfProduct } from './operand.ts';
import { bool64, type FloatContext, keep, LEADING_BIT, nativeShortcut, signed } from './rounding.ts';

const low = (x: I64): I64 => i64.and(x, 0xffff_ffffn);
const high = (x: I64): I64 => i64.shr_u(x, 32);

/** (a, b) → the high 64 bits of the unsigned product, from four products of 32-bit halves. */
export function addMultiplyHigh(m: Mod): Callee<'i64'> {
  const f = m.fn(['i64', 'i64'], 'i64');
  const a = f.param<'i64'>(0);
  const b = f.param<'i64'>(1);
  const cross = keep(f, i64.add(i64.mul(high(a), low(b)), high(i64.mul(low(a), low(b)))));
  const otherCross = keep(f, i64.add(i64.mul(low(a), high(b)), low(cross)));
  f.emit(i64.add(i64.mul(high(a), high(b)), i64.add(high(cross), high(otherCross))));
  return f;
}

export function addMultiplication(c: FloatContext): Callee<'i64'> {
  const { format } = c;
  const f = c.m.fn(['i64', 'i64', 'i32'], 'i64');
  const mode = f.param<'i32'>(2);
  nativeShortcut(f, c, mode, () => format.native.mul(f.param<'i64'>(0), f.param<'i64'>(1)));

  const a = operand(f, format, f.param<'i64'>(0));
  const b = operand(f, format, f.param<'i64'>(1));
  const sign = keep(f, signOfProduct(format, a, b));
  f.if(
    i32.or(isSpecial(format, a), isSpecial(format, b)),
    () => {
      returnIfNan(f, c, [a, b]);
      f.if(anyOf([isZero(a), isZero(b)]), () => returnInvalid(f, c));
      f.ret(i64.or(signed(format, sign), format.infinity));
    },
    undefined,
    'unlikely',
  );
  f.if(anyOf([isZero(a), isZero(b)]), () => f.ret(signed(format, sign)));

  // Leading ones at bits 62 and 63: that of the product is bit 125 or 126, bit 61 or 62 of its high half.
  const x = normalize(f, format, a);
  const y = normalize(f, format, b);
  f.set(x.significand, i64.shl(x.significand, LEADING_BIT - format.fractionBits));
  f.set(y.significand, i64.shl(y.significand, LEADING_BIT + 1 - format.fractionBits));
  const product = keep(f, call(c.multiplyHigh, x.significand, y.significand));
  f.set(product, i64.or(product, bool64(i64.ne(i64.mul(x.significand, y.significand), 0))));
  const exponent = keep(f, i32.sub(i32.add(x.exponent, y.exponent), format.bias));
  const atLeastTwo = i64.ge_u(product, 1n << BigInt(LEADING_BIT));
  f.emit(
    when(
      atLeastTwo,
      call(c.roundAndPack, sign, i32.add(exponent, 1), product, mode),
      call(c.roundAndPack, sign, exponent, i64.shl(product, 1), mode),
    ),
  );
  return f;
}
