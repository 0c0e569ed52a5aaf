/** The code of regions as text. What it does is compared with the interpreter and with QEMU elsewhere. */
import { describe, expect, it } from 'vitest';
import { Mod } from '../../wasm/index.ts';
import { toText } from '../../wasm/text-for-tests.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import type { MemoryImports } from '../instructions/memory-emit.ts';
import { type Flow, findFlow } from './blocks.ts';
import { emitRegion } from './region.ts';
import type { Functions } from './region-emit.ts';

const LOCALS = ['pc', 'budget', 'page', 'block'];

/** The region at the start of a page with these instructions; `registers` name the locals in order of first use. */
function regionText(words: readonly number[], registers: readonly string[]): string {
  const m = new Mod();
  const names = ['load', 'store', 'secure'] as const;
  const imports = Object.fromEntries(
    names.map((name) => [name, m.importFn(name, ['i32', 'i32', 'i32'], 'i32')]),
  ) as unknown as MemoryImports;
  const block = m.importConstant('block', 'i32');
  m.importMemory(1, 1, true);
  m.importTable(0);
  const code = new DataView(new ArrayBuffer(4096));
  for (const [i, word] of words.entries()) code.setUint32(4 * i, word, true);
  const flow = findFlow(code, 0, 400) as Flow;
  const fn = emitRegion({ m, imports, functions: {} as Functions, block }, flow, 'r0');
  const locals = Object.fromEntries([...LOCALS, ...registers, 'tlb', 'code', 'mode', 'inexact'].map((name, i) => [i, name]));
  const functions = Object.fromEntries(names.map((name, i) => [i, [name, 3, true] as const]));
  return `\n${toText(fn, { locals, functions })}\n`;
}

const [A0, A1] = [10, 11];

describe('the code of a region', () => {
  it('a loop: registers in locals, the budget on the edge back, one way out', () => {
    const loop = [
      encode('add', { rd: A0, rs1: A0, rs2: A1 }),
      encode('addi', { rd: A1, rs1: A1, imm: -1 }),
      encode('bne', { rs1: A1, rs2: 0, imm: -8 }),
      encode('ecall'),
    ];
    expect(regionText(loop, ['a0', 'a1'])).toMatchInlineSnapshot(`
      "
      block = global0
      page = (i64.and pc -4096)
      a0 = (i64.load +0x50 block)
      a1 = (i64.load +0x58 block)
      tlb = (i32.load +0x21c block)
      block L1
        loop L2
          a0 = (i64.add a0 a1)
          a1 = (i64.add a1 -1)
          $10 = (i64.ne a1 0)
          budget = (i64.sub budget 3)
          if $10
            if unlikely (i64.lt_s budget 0)
              pc = page
              br L1
            end
            br L2
          else
            pc = (i64.add page 12)
            br L1
          end
          unreachable
        end
        unreachable
        unreachable
      end
      i64.store +0x50 block a0
      i64.store +0x58 block a1
      block L3
        br_if unlikely L3 code
        if unlikely (i64.lt_s budget 0)
          i64.store +0x240 block page
          code = 11
          br L3
        end
        $11 = (i32.add (i32.load +0x220 block) (i32.and (i32.shr_u (i32.wrap pc) 8) 8176))
        br_if unlikely L3 (i64.ne (i64.load $11) (i64.and pc -4096))
        $12 = (i32.add (i32.load +0x8 $11) (i32.shl (i32.and (i32.wrap pc) 4095) 2))
        br_if L3 (i32.ne (i32.load16_u $12) 6)
        return_call_indirect pc budget (i32.load +0x4 $12)
      end
      i64.store +0x200 block pc
      i64.store +0x208 block budget
      "
    `);
  });

  it('a load: one look at the TLB, and a way out at the instruction with what has ended before it', () => {
    const load = [encode('addi', { rd: A1, rs1: A1, imm: 8 }), encode('ld', { rd: A0, rs1: A1, imm: 16 }), encode('ecall')];
    expect(regionText(load, ['a1', 'a0'])).toMatchInlineSnapshot(`
      "
      block = global0
      page = (i64.and pc -4096)
      a1 = (i64.load +0x58 block)
      a0 = (i64.load +0x50 block)
      tlb = (i32.load +0x21c block)
      block L1
        a1 = (i64.add a1 8)
        $10 = (i64.add a1 16)
        $12 = (i32.add tlb (i32.and (i32.shr_u (i32.wrap $10) 8) 8176))
        if unlikely (i64.ne (i64.load $12) (i64.and (i64.add $10 7) -4096))
          code = (load (i32.wrap $10) (i32.wrap (i64.shr_u $10 32)) 8)
          if unlikely code
            budget = (i64.sub budget 1)
            pc = (i64.add page 4)
            br L1
          end
          $11 = (i64.load +0x228 block)
        else
          $11 = (i64.load (i32.add (i32.wrap $10) (i32.load +0x8 $12)))
        end
        a0 = $11
        budget = (i64.sub budget 2)
        pc = (i64.add page 8)
        br L1
        unreachable
      end
      i64.store +0x58 block a1
      i64.store +0x50 block a0
      block L2
        br_if unlikely L2 code
        if unlikely (i64.lt_s budget 0)
          i64.store +0x240 block page
          code = 11
          br L2
        end
        $13 = (i32.add (i32.load +0x220 block) (i32.and (i32.shr_u (i32.wrap pc) 8) 8176))
        br_if unlikely L2 (i64.ne (i64.load $13) (i64.and pc -4096))
        $14 = (i32.add (i32.load +0x8 $13) (i32.shl (i32.and (i32.wrap pc) 4095) 2))
        br_if L2 (i32.ne (i32.load16_u $14) 6)
        return_call_indirect pc budget (i32.load +0x4 $14)
      end
      i64.store +0x200 block pc
      i64.store +0x208 block budget
      "
    `);
  });
});
