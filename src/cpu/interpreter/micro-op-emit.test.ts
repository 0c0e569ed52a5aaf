import { describe, expect, it } from 'vitest';
import { type call, Mod } from '../../wasm/index.ts';
import { type Names, toText } from '../../wasm/text-for-tests.ts';
import type { FloatFunctions } from '../float/functions.ts';
import { addWideMultiply } from '../instructions/multiply.ts';
import { MicroOpEmit } from './micro-op-emit.ts';
import { OperationSet } from './operations.ts';
import { importSystem, SYSTEM_ARGUMENTS } from './system-imports.ts';

const BLOCK = 0x20000;
const operations = new OperationSet(['c.addi+ld']);

/** The code of one handler as text. Registers of the thread block are at +0x20000, its other fields behind them. */
function handlerText(key: string): string {
  const m = new Mod();
  const system = importSystem(m);
  const next = m.importFn('next', [], null);
  const far = m.importFn('far', ['i64'], null);
  const exit = m.importFn('exit', [], null);
  const oneFloat = m.importFn('float', ['i64', 'i64', 'i32'], 'i64');
  const functions: Record<number, [string, number, boolean]> = {
    ...Object.entries(SYSTEM_ARGUMENTS).map(([name, count]): [string, number, boolean] => [name, count, true]),
    [next.idx]: ['next', 0, false],
    [far.idx]: ['far', 1, false],
    [exit.idx]: ['exit', 0, false],
    [oneFloat.idx]: ['float', 3, true],
  };
  const wide = addWideMultiply(m);
  functions[wide.mulh.idx] = ['mulh', 2, true];
  const f = m.fn(['i32'], null);
  const [p, pageBias, budget] = [f.param<'i32'>(0), f.local('i64'), f.local('i64')];
  const loop = {
    p,
    pageBias,
    budget,
    next: () => f.call(next),
    far: (target: Parameters<typeof call>[1]) => f.call(far, target),
    exit: () => f.call(exit),
  };
  const float = { add: { s: oneFloat, d: oneFloat } } as unknown as FloatFunctions;
  const emit = new MicroOpEmit(f, BLOCK, system, loop, float, wide);
  const handler = operations.handlers.find((candidate) => candidate.key === key);
  if (!handler) throw new Error(`no handler ${key}`);
  emit.emitHandler(handler);
  const locals: Names['locals'] = { 0: 'p', 1: 'bias', 2: 'budget', 3: 'tlb', 4: 'code' };
  return `\n${toText(f, { locals, functions })}\n`;
}

describe('the code of a handler', () => {
  it('add: two loads, a store, the next slot', () => {
    expect(handlerText('c.add')).toMatchInlineSnapshot(`
      "
      i64.store +0x20000 (i32.load8_u +0x2 p) (i64.add (i64.load +0x20000 (i32.load8_u +0x3 p)) (i64.load +0x20000 (i32.load8_u +0x4 p)))
      p = (i32.add p 8)
      budget = (i64.sub budget 1)
      next
      "
    `);
  });
  it('lw: TLB hit in line, slow path unlikely', () => {
    expect(handlerText('lw')).toMatchInlineSnapshot(`
      "
      $6 = (i64.add (i64.load +0x20000 (i32.load8_u +0x3 p)) (i64.load32_s +0x4 p))
      $7 = (i32.add tlb (i32.and (i32.shr_u (i32.wrap $6) 8) 32752))
      if unlikely (i64.ne (i64.load $7) (i64.and (i64.add $6 3) -4096))
        code = (load (i32.wrap $6) (i32.wrap (i64.shr_u $6 32)) 20)
        if unlikely code
          exit
        end
        $5 = (i64.load +0x20228 0)
      else
        $5 = (i64.load32_s (i32.add (i32.wrap $6) (i32.load +0x8 $7)))
      end
      i64.store +0x20000 (i32.load8_u +0x2 p) $5
      p = (i32.add p 16)
      budget = (i64.sub budget 1)
      next
      "
    `);
  });
  it('ld to x0 still accesses memory', () => {
    expect(handlerText('ld,x0')).toMatchInlineSnapshot(`
      "
      $6 = (i64.add (i64.load +0x20000 (i32.load8_u +0x3 p)) (i64.load32_s +0x4 p))
      $7 = (i32.add tlb (i32.and (i32.shr_u (i32.wrap $6) 8) 32752))
      if unlikely (i64.ne (i64.load $7) (i64.and (i64.add $6 7) -4096))
        code = (load (i32.wrap $6) (i32.wrap (i64.shr_u $6 32)) 8)
        if unlikely code
          exit
        end
        $5 = (i64.load +0x20228 0)
      else
        $5 = (i64.load (i32.add (i32.wrap $6) (i32.load +0x8 $7)))
      end
      drop $5
      p = (i32.add p 16)
      budget = (i64.sub budget 1)
      next
      "
    `);
  });
  it('sb', () => {
    expect(handlerText('sb')).toMatchInlineSnapshot(`
      "
      $5 = (i64.add (i64.load +0x20000 (i32.load8_u +0x3 p)) (i64.load32_s +0x4 p))
      $6 = (i32.add tlb (i32.and (i32.shr_u (i32.wrap $5) 8) 32752))
      if unlikely (i64.ne (i64.load +0x8000 $6) (i64.and $5 -4096))
        i64.store +0x20228 0 (i64.load +0x20000 (i32.load8_u +0x2 p))
        code = (store (i32.wrap $5) (i32.wrap (i64.shr_u $5 32)) 1)
        if unlikely code
          if (i32.eq code 9)
            p = (i32.add p 16)
            budget = (i64.sub budget 1)
            exit
          end
          exit
        end
      else
        i64.store8 (i32.add (i32.wrap $5) (i32.load +0x8008 $6)) (i64.load +0x20000 (i32.load8_u +0x2 p))
      end
      p = (i32.add p 16)
      budget = (i64.sub budget 1)
      next
      "
    `);
  });
  it('beq to the same page: the budget at the taken branch', () => {
    expect(handlerText('beq')).toMatchInlineSnapshot(`
      "
      if (i64.eq (i64.load +0x20000 (i32.load8_u +0x3 p)) (i64.load +0x20000 (i32.load8_u +0x2 p)))
        p = (i32.add p (i32.load +0x4 p))
        budget = (i64.sub budget 1)
        if unlikely (i64.lt_s budget 0)
          code = 1
          exit
        end
        next
      end
      p = (i32.add p 16)
      budget = (i64.sub budget 1)
      next
      "
    `);
  });
  it('jalr pins its target before it writes rd', () => {
    expect(handlerText('jalr')).toMatchInlineSnapshot(`
      "
      $5 = (i64.and (i64.add (i64.load +0x20000 (i32.load8_u +0x3 p)) (i64.load32_s +0x4 p)) -2)
      i64.store +0x20000 (i32.load8_u +0x2 p) (i64.add bias (i64.ext_u (i32.shr_u (i32.add p 16) 2)))
      budget = (i64.sub budget 1)
      far $5
      "
    `);
  });
  it('div', () => {
    expect(handlerText('div')).toMatchInlineSnapshot(`
      "
      $5 = (i64.load +0x20000 (i32.load8_u +0x3 p))
      $6 = (i64.load +0x20000 (i32.load8_u +0x4 p))
      i64.store +0x20000 (i32.load8_u +0x2 p) (when (i64.eqz $6) -1 (when (i64.eq $6 -1) (i64.sub 0 $5) (i64.div_s $5 $6)))
      p = (i32.add p 16)
      budget = (i64.sub budget 1)
      next
      "
    `);
  });
  it('amoadd.w clears x0 after the write of rd', () => {
    expect(handlerText('amoadd.w')).toMatchInlineSnapshot(`
      "
      $5 = (i64.load +0x20000 (i32.load8_u +0x3 p))
      $6 = (i32.add tlb (i32.and (i32.shr_u (i32.wrap $5) 8) 32752))
      if unlikely (i64.ne (i64.load +0x8000 $6) (i64.and $5 -4093))
        code = (secure (i32.wrap $5) (i32.wrap (i64.shr_u $5 32)) 36)
        if unlikely code
          exit
        end
      end
      $7 = (i32.add (i32.wrap $5) (i32.load +0x8008 $6))
      $8 = (i64.load32_s $7)
      $9 = (i64.sext32 (i64.load +0x20000 (i32.load8_u +0x4 p)))
      i64.store32 $7 (i64.add $8 $9)
      i64.store +0x20000 (i32.load8_u +0x2 p) $8
      i64.store +0x20000 0 0
      p = (i32.add p 16)
      budget = (i64.sub budget 1)
      next
      "
    `);
  });
  it('sc.d', () => {
    expect(handlerText('sc.d')).toMatchInlineSnapshot(`
      "
      $5 = (i64.load +0x20000 (i32.load8_u +0x3 p))
      $6 = 1
      if (i32.or (i64.eq (i64.load +0x20230 0) $5) (i64.ne (i64.and $5 7) 0))
        $7 = (i32.add tlb (i32.and (i32.shr_u (i32.wrap $5) 8) 32752))
        if unlikely (i64.ne (i64.load +0x8000 $7) (i64.and $5 -4089))
          code = (secure (i32.wrap $5) (i32.wrap (i64.shr_u $5 32)) 40)
          if unlikely code
            exit
          end
        end
        $8 = (i32.add (i32.wrap $5) (i32.load +0x8008 $7))
        if (i64.eq (i64.load $8) (i64.load +0x20238 0))
          i64.store $8 (i64.load +0x20000 (i32.load8_u +0x4 p))
          $6 = 0
        end
      end
      i64.store +0x20230 0 -1
      i64.store +0x20000 (i32.load8_u +0x2 p) $6
      i64.store +0x20000 0 0
      p = (i32.add p 16)
      budget = (i64.sub budget 1)
      next
      "
    `);
  });
  it('fadd.s: FS, rounding mode and boxing', () => {
    expect(handlerText('fadd.s')).toMatchInlineSnapshot(`
      "
      if unlikely (i32.eqz (i32.load +0x20218 0))
        code = 5
        exit
      end
      $5 = (i32.load8_u +0x6 p)
      if (i32.eq $5 7)
        $5 = (i32.load +0x20214 0)
        if unlikely (i32.gt_u $5 4)
          code = 5
          exit
        end
      end
      $6 = (i64.load +0x20100 (i32.load8_u +0x3 p))
      $7 = (when (i64.eq (i64.shr_u $6 32) 4294967295) (i64.and $6 4294967295) 2143289344)
      $8 = (i64.load +0x20100 (i32.load8_u +0x4 p))
      $9 = (when (i64.eq (i64.shr_u $8 32) 4294967295) (i64.and $8 4294967295) 2143289344)
      i64.store +0x20100 (i32.load8_u +0x2 p) (i64.or (float $7 $9 $5) -4294967296)
      i32.store +0x20218 0 3
      p = (i32.add p 16)
      budget = (i64.sub budget 1)
      next
      "
    `);
  });
  it('csrrs leaves after itself when the hart says so', () => {
    expect(handlerText('csrrs')).toMatchInlineSnapshot(`
      "
      i64.store +0x20208 0 budget
      code = (csr (i32.or (i32.load +0x4 p) 8192) (i32.shr_u (i32.load8_u +0x2 p) 3) (i32.shr_u (i32.load8_u +0x3 p) 3))
      if unlikely code
        if (i32.eq code 9)
          p = (i32.add p 16)
          budget = (i64.sub budget 1)
          exit
        end
        exit
      end
      tlb = (i32.load +0x2021c 0)
      p = (i32.add p 16)
      budget = (i64.sub budget 1)
      next
      "
    `);
  });
  it('a fused pair moves p once, and a fault of its second half finds the right slot', () => {
    expect(handlerText('c.addi+ld')).toMatchInlineSnapshot(`
      "
      i64.store +0x20000 (i32.load8_u +0x2 p) (i64.add (i64.load +0x20000 (i32.load8_u +0x3 p)) (i64.load32_s +0x4 p))
      $6 = (i64.add (i64.load +0x20000 (i32.load8_u +0xb p)) (i64.load32_s +0xc p))
      $7 = (i32.add tlb (i32.and (i32.shr_u (i32.wrap $6) 8) 32752))
      if unlikely (i64.ne (i64.load $7) (i64.and (i64.add $6 7) -4096))
        code = (load (i32.wrap $6) (i32.wrap (i64.shr_u $6 32)) 8)
        if unlikely code
          p = (i32.add p 8)
          budget = (i64.sub budget 1)
          exit
        end
        $5 = (i64.load +0x20228 0)
      else
        $5 = (i64.load (i32.add (i32.wrap $6) (i32.load +0x8 $7)))
      end
      i64.store +0x20000 (i32.load8_u +0xa p) $5
      p = (i32.add p 24)
      budget = (i64.sub budget 2)
      next
      "
    `);
  });
});
