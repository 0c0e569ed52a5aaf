import { describe, expect, it } from 'vitest';
import { call, f32, f64, i8x16, i32, i64, i64x2, Mod, select, v128, when } from './index.ts';
import { sleb, uleb } from './leb128.ts';

const instantiate = (m: Mod, imports: WebAssembly.ModuleImports = {}): Record<string, (...a: never[]) => unknown> =>
  new WebAssembly.Instance(new WebAssembly.Module(m.build()), { e: imports }).exports as never;

describe('LEB128', () => {
  it('gives the same bytes for a number and for the equal bigint', () => {
    for (const v of [0, 1, 63, 64, 127, 128, 8191, 8192, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 40]) {
      expect(uleb(v)).toEqual(uleb(BigInt(v)));
      expect(sleb(v)).toEqual(sleb(BigInt(v)));
      expect(sleb(-v)).toEqual(sleb(BigInt(-v)));
    }
  });
});

describe('the encoder', () => {
  it('folds additions of zero away and wraps constants', () => {
    const x = i64.const(5);
    expect(i64.add(x, 0)).toBe(x);
    expect(i64.const(2n ** 64n - 1n).k).toBe(-1n);
    expect(i32.const(0xffff_ffff).k).toBe(-1n);
  });

  it('runs control flow, calls, conditional expressions, globals and hints', () => {
    const m = new Mod();
    const seen: number[] = [];
    const log = m.importFn('log', ['i32'], null);
    const total = m.global('i64', 7);
    const twice = m.fn(['i32'], 'i32');
    twice.emit(i32.mul(twice.param(0), 2));
    const f = m.fn(['i32'], 'i64', 'f');
    const n = f.param<'i32'>(0);
    f.block((done) => {
      f.loop((again) => {
        f.brIf(done, i32.eqz(n), 'unlikely');
        f.if(
          i32.and(n, 1),
          () => f.call(log, call(twice, n)),
          () => f.setGlobal(total, i64.add(total, 1)),
          'likely',
        );
        f.set(n, i32.sub(n, 1));
        f.br(again);
      });
    });
    f.emit(when(i64.eq(total, 9), i64.add(total, 100), select(i32.const(1), i64.const(-1), i64.const(-2))));
    const run = instantiate(m, { log: (v: number) => seen.push(v) }) as { f: (n: number) => bigint };
    expect(run.f(5)).toBe(109n);
    expect(seen).toEqual([10, 6, 2]);
    expect(run.f(2)).toBe(-1n);
  });

  it('has memory, atomic and bulk operations', () => {
    const m = new Mod();
    m.importMemory(1, 1, true);
    const f = m.fn([], 'i64', 'f');
    f.memoryFill(0, 0xab, 8);
    f.memoryCopy(9, 0, 3);
    f.store(i64.store, 16, 40n);
    f.drop(i64.atomic.add(16, 2));
    f.atomicFence();
    f.store(i32.atomic.store, 24, 5);
    f.drop(i32.atomic.cmpxchg(24, 5, 6));
    f.emit(i64.add(i64.load(8, 8), i64.add(i64.ext_u(i32.atomic.load(24)), i64.load16_u(9))));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    expect((instantiate(m, { m: memory }) as { f: () => bigint }).f()).toBe(42n + 6n + 0xababn);
  });

  it('has floating point', () => {
    const m = new Mod();
    const f = m.fn(['f64'], 'f64', 'f');
    f.emit(f64.promote(f32.demote(f64.sqrt(f64.add(f.param<'f64'>(0), 0.25)))));
    const g = m.fn(['f64'], 'i64', 'g');
    g.emit(i64.sat_u(g.param<'f64'>(0)));
    const run = instantiate(m) as { f: (x: number) => number; g: (x: number) => bigint };
    expect(run.f(2)).toBe(1.5);
    expect(run.g(-5)).toBe(0n);
    expect(run.g(5.9)).toBe(5n);
  });

  it('has vectors: constants, lanes, shuffles, shifts and full products', () => {
    const m = new Mod();
    m.importMemory(1, 1, true);
    const f = m.fn(['i64', 'i32'], 'i32', 'f');
    const a = f.local('v128');
    f.set(a, v128.xor(i64x2.splat(f.param<'i64'>(0)), v128.const(1n, -1n)));
    f.store(v128.store, 3, a);
    f.store(v128.store, 3, i64x2.shl(i64x2.shr_u(a, 8), 4), 16);
    f.store(v128.store, 3, i64x2.add(i64x2.extmulLowI32x4U(a, a), i64x2.mul(a, a)), 32);
    f.store(v128.store, 3, i64x2.extmulHighI32x4U(a, a), 48);
    const backwards = Array.from({ length: 16 }, (_, i) => 15 - i);
    f.store(v128.store, 3, i8x16.shuffle(a, v128.or(a, v128.load(3)), backwards), 64);
    f.store(v128.store, 3, i8x16.swizzle(i8x16.splat(f.param<'i32'>(1)), v128.const(0x8000_0000_0000_0000n, 0n)), 80);
    f.store(i64.store, 3, i64x2.extractLane(a, 1), 96);
    f.emit(v128.anyTrue(v128.xor(a, v128.load(3))));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const x = 0x0123_4567_89ab_cdefn;
    expect((instantiate(m, { m: memory }) as { f: (x: bigint, y: number) => number }).f(x, 0x155)).toBe(0);
    const view = new DataView(memory.buffer);
    const word = (i: number): bigint => view.getBigUint64(3 + 8 * i, true);
    const [low, high] = [x ^ 1n, BigInt.asUintN(64, ~x)];
    const half = (v: bigint, i: bigint): bigint => (v >> (32n * i)) & 0xffff_ffffn;
    const bytes = (v: bigint): bigint[] => Array.from({ length: 8 }, (_, i) => (v >> BigInt(8 * i)) & 0xffn);
    const reversed = (v: bigint): bigint => bytes(v).reduce((sum, byte) => (sum << 8n) | byte, 0n);
    expect([word(0), word(1)]).toEqual([low, high]);
    expect([word(2), word(3)]).toEqual([low, high].map((v) => BigInt.asUintN(64, (v >> 8n) << 4n)));
    expect(word(4)).toBe(BigInt.asUintN(64, half(low, 0n) ** 2n + low * low));
    expect(word(5)).toBe(BigInt.asUintN(64, half(low, 1n) ** 2n + high * high));
    expect([word(6), word(7)]).toEqual([half(high, 0n) ** 2n, half(high, 1n) ** 2n]);
    expect([word(8), word(9)]).toEqual([reversed(high), reversed(low)]);
    expect([word(10), word(11)]).toEqual([0x0055_5555_5555_5555n, 0x5555_5555_5555_5555n]);
    expect(word(12)).toBe(high);
  });
});
