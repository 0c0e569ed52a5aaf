/** The code of regions as text. What it does is compared with the interpreter and with QEMU elsewhere. */
import { describe, expect, it } from 'vitest';
import { Mod } from '../../wasm/index.ts';
import { toText } from '../../wasm/text-for-tests.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import { type Flow, findFlow } from './blocks.ts';
import { emitRegion } from './region.ts';
import { type Functions, importSystem } from './region-emit.ts';

const LOCALS = ['pc', 'budget', 'block', 'page'];

/** The region at the start of a page with these instructions; `registers` name the locals in order of first use. */
function regionText(words: readonly number[], registers: readonly string[]): string {
  const m = new Mod();
  const imports = importSystem(m);
  m.importMemory(1, 1, true);
  m.importTable(0);
  const code = new DataView(new ArrayBuffer(4096));
  for (const [i, word] of words.entries()) code.setUint32(4 * i, word, true);
  const flow = findFlow(code, 0, 400) as Flow;
  const fn = emitRegion({ m, imports, functions: {} as Functions }, flow, 'r0');
  const locals = Object.fromEntries([...LOCALS, 'tlb', 'code', 'mode', 'inexact', ...registers].map((name, i) => [i, name]));
  const functions = Object.fromEntries(
    Object.entries(imports).map(([name, { idx }]) => [
      idx,
      [name, name === 'sfence' || name === 'cboZero' ? 2 : 3, true] as const,
    ]),
  );
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
      page = (i64.and pc -4096)
      tlb = (i32.load +0x21c block)
      block L1
        block L2
          a0 = (i64.load +0x50 block)
          a1 = (i64.load +0x58 block)
          loop L3
            a0 = (i64.add a0 a1)
            a1 = (i64.add a1 -1)
            $10 = (i64.ne a1 0)
            budget = (i64.sub budget 3)
            if $10
              if unlikely (i64.lt_s budget 0)
                pc = page
                br L2
              end
              br L3
            else
              i64.store +0x50 block a0
              i64.store +0x58 block a1
              code = 3
              pc = (i64.add page 12)
              br L1
            end
            unreachable
          end
          unreachable
        end
        i64.store +0x50 block a0
        i64.store +0x58 block a1
        br L1
        unreachable
      end
      block L4
        br_if unlikely L4 code
        if unlikely (i64.lt_s budget 0)
          code = 1
          br L4
        end
        $10 = (i32.add (i32.load +0x220 block) (i32.and (i32.shr_u (i32.wrap pc) 8) 32752))
        br_if unlikely L4 (i64.ne (i64.load $10) (i64.and pc -4096))
        $11 = (i32.add (i32.load +0x8 $10) (i32.shl (i32.and (i32.wrap pc) 4095) 2))
        br_if L4 (i32.ne (i32.load16_u $11) 6)
        return_call_indirect pc budget block (i32.load +0x4 $11)
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
      page = (i64.and pc -4096)
      tlb = (i32.load +0x21c block)
      block L1
        a1 = (i64.load +0x58 block)
        a1 = (i64.add a1 8)
        i64.store +0x58 block a1
        $10 = (i64.add a1 16)
        $11 = (i32.add tlb (i32.and (i32.shr_u (i32.wrap $10) 8) 32752))
        if unlikely (i64.ne (i64.load $11) (i64.and (i64.add $10 7) -4096))
          code = (load (i32.wrap $10) (i32.wrap (i64.shr_u $10 32)) 8)
          if unlikely code
            budget = (i64.sub budget 1)
            pc = (i64.add page 4)
            br L1
          end
          a0 = (i64.load +0x228 block)
        else
          a0 = (i64.load (i32.add (i32.wrap $10) (i32.load +0x8 $11)))
        end
        $12 = a0
        i64.store +0x50 block $12
        code = 3
        budget = (i64.sub budget 2)
        pc = (i64.add page 8)
        br L1
        unreachable
      end
      block L2
        br_if unlikely L2 code
        if unlikely (i64.lt_s budget 0)
          code = 1
          br L2
        end
        $11 = (i32.add (i32.load +0x220 block) (i32.and (i32.shr_u (i32.wrap pc) 8) 32752))
        br_if unlikely L2 (i64.ne (i64.load $11) (i64.and pc -4096))
        $13 = (i32.add (i32.load +0x8 $11) (i32.shl (i32.and (i32.wrap pc) 4095) 2))
        br_if L2 (i32.ne (i32.load16_u $13) 6)
        return_call_indirect pc budget block (i32.load +0x4 $13)
      end
      i64.store +0x200 block pc
      i64.store +0x208 block budget
      "
    `);
  });
});
