/** Addition and subtraction. */
import { type Callee, call, type Fn, i32, i64, type Local } from '../../wasm/index.ts';
import { isInfinite, isSpecial, type Operand, operand, returnIfNan, returnInvalid, scaleOf, significandOf } from './operand.ts';
import { cancelledZero, type FloatContext, keep, LEADING_BIT, nativeShortcut, shiftRightSticky, signOf } from './rounding.ts';

export function addAddition(c: FloatContext): { readonly add: Callee<'i64'>; readonly subtract: Callee<'i64'> } {
  const { format } = c;
  const f = c.m.fn(['i64', 'i64', 'i32'], 'i64');
  const a = f.param<'i64'>(0);
  const b = f.param<'i64'>(1);
  const mode = f.param<'i32'>(2);
  nativeShortcut(f, c, mode, () => format.native.add(a, b));
  addExactly(f, c, a, b, mode);

  const g = c.m.fn(['i64', 'i64', 'i32'], 'i64');
  g.emit(call(f, g.param<'i64'>(0), i64.xor(g.param<'i64'>(1), format.signBit), g.param<'i32'>(2)));
  return { add: f, subtract: g };
}

function addExactly(f: Fn, c: FloatContext, a: Local<'i64'>, b: Local<'i64'>, mode: Local<'i32'>): void {
  const { format } = c;
  const large = operand(f, format, a);
  const small = operand(f, format, b);
  f.if(
    i32.or(isSpecial(format, large), isSpecial(format, small)),
    () => returnSpecial(f, c, large, small),
    undefined,
    'unlikely',
  );
  f.if(i64.lt_u(large.magnitude, small.magnitude), () => {
    swap(f, large.bits, small.bits);
    swap(f, large.magnitude, small.magnitude);
  });

  // Leading ones at bit 61, so that a carry has a place; the 9 or more bits below the fraction keep rounding exact: a
  // difference loses more than one leading bit only when the exponents are at most 1 apart, and then nothing was shifted out.
  const spare = LEADING_BIT - 1 - format.fractionBits;
  const exponent = scaleOf(f, format, large);
  const distance = keep(f, i32.sub(exponent, scaleOf(f, format, small)));
  const sum = keep(f, i64.shl(significandOf(format, large), spare));
  const addend = keep(f, i64.shl(significandOf(format, small), spare));
  f.set(addend, shiftRightSticky(addend, distance));
  const opposite = signOf(format, i64.xor(large.bits, small.bits));
  f.if(
    opposite,
    () => {
      f.set(sum, i64.sub(sum, addend));
      f.if(i64.eqz(sum), () => f.ret(cancelledZero(format, mode)));
    },
    () => {
      f.set(sum, i64.add(sum, addend));
      f.if(i64.eqz(sum), () => f.ret(i64.and(large.bits, format.signBit)));
    },
  );
  const zeros = keep(f, i64.clz(sum));
  f.emit(
    call(
      c.roundAndPack,
      signOf(format, large.bits),
      i32.sub(i32.add(exponent, 2), i32.wrap(zeros)),
      i64.shl(sum, i64.sub(zeros, 1)),
      mode,
    ),
  );
}

function returnSpecial(f: Fn, c: FloatContext, a: Operand, b: Operand): void {
  const { format } = c;
  returnIfNan(f, c, [a, b]);
  const bothInfinite = i64.eq(a.magnitude, b.magnitude);
  f.if(i32.and(bothInfinite, signOf(format, i64.xor(a.bits, b.bits))), () => returnInvalid(f, c));
  const infinite = keep(f, a.bits);
  f.if(isInfinite(format, b), () => f.set(infinite, b.bits));
  f.ret(i64.and(infinite, format.signBit | format.magnitudeMask));
}

function swap(f: Fn, x: Local<'i64'>, y: Local<'i64'>): void {
  const was = keep(f, x);
  f.set(x, y);
  f.set(y, was);
}
