/** The code of regions as text. What it does is compared with the interpreter and with QEMU elsewhere. */
import { describe, expect, it } from 'vitest';
import { Mod } from '../../wasm/index.ts';
import { toText } from '../../wasm/text-for-tests.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import { importSystem, SYSTEM_ARGUMENTS } from '../interpreter/system-imports.ts';
import { type Flow, findFlow } from './blocks.ts';
import { emitRegion } from './region.ts';
import type { Functions } from './region-emit.ts';

const WAY_OUT = /^block (L\d+)\n {2}br_if unlikely \1 code$/m;
const LOCALS = ['pc', 'budget', 'block', 'page'];

/** The region at the start of a page with these instructions, and its way out. `registers` name the locals in order of first use. */
function regionText(words: readonly number[], registers: readonly string[]): { code: string; out: string } {
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
    Object.entries(SYSTEM_ARGUMENTS).map(([name, count], i) => [i, [name, count, true] as const]),
  );
  const text = toText(fn, { locals, functions });
  const out = text.search(WAY_OUT);
  return { code: `\n${text.slice(0, out)}`, out: `\n${text.slice(out)}\n` };
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
    const region = regionText(loop, ['a0', 'a1']);
    expect(region.code).toMatchInlineSnapshot(`
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
      "
    `);
    expect(region.out).toMatchInlineSnapshot(`
      "
      block L4
        br_if unlikely L4 code
        if unlikely (i64.lt_s budget 0)
          i64.store +0x240 block page
          code = 11
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
    expect(regionText(load, ['a1', 'a0']).code).toMatchInlineSnapshot(`
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
      "
    `);
  });

  it('a load in a loop: the page that it was in last, then the TLB', () => {
    const loop = [
      encode('lw', { rd: A0, rs1: A1, imm: 0 }),
      encode('addi', { rd: A1, rs1: A1, imm: 4 }),
      encode('bne', { rs1: A0, rs2: 0, imm: -8 }),
      encode('ecall'),
    ];
    expect(regionText(loop, ['a0', 'a1']).code).toMatchInlineSnapshot(`
      "
      page = (i64.and pc -4096)
      tlb = (i32.load +0x21c block)
      block L1
        block L2
          a0 = (i64.load +0x50 block)
          a1 = (i64.load +0x58 block)
          i64.store +0x280 block -1
          loop L3
            $11 = a1
            block L4
              if unlikely (i64.ne (i64.load +0x280 block) (i64.and $11 -4093))
                $12 = (i32.add tlb (i32.and (i32.shr_u (i32.wrap $11) 8) 32752))
                if unlikely (i64.ne (i64.load $12) (i64.and (i64.add $11 3) -4096))
                  code = (load (i32.wrap $11) (i32.wrap (i64.shr_u $11 32)) 20)
                  if unlikely code
                    pc = page
                    br L2
                  end
                  i64.store +0x280 block -1
                  $10 = (i64.load +0x228 block)
                  br L4
                end
                i64.store +0x280 block (i64.load $12)
                i32.store +0x288 block (i32.load +0x8 $12)
              end
              $10 = (i64.load32_s (i32.add (i32.wrap $11) (i32.load +0x288 block)))
            end
            a0 = $10
            a1 = (i64.add a1 4)
            $12 = (i64.ne a0 0)
            budget = (i64.sub budget 3)
            if $12
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
      "
    `);
  });

  it('a CSR: the hart does it, and what it wrote is read again', () => {
    const csr = [
      encode('addi', { rd: A0, rs1: A0, imm: 1 }),
      encode('csrrw', { rd: A1, rs1: A0, imm: 0x140 }),
      encode('add', { rd: A1, rs1: A1, rs2: A0 }),
      encode('ecall'),
    ];
    expect(regionText(csr, ['a0', 'a1']).code).toMatchInlineSnapshot(`
      "
      page = (i64.and pc -4096)
      tlb = (i32.load +0x21c block)
      block L1
        a0 = (i64.load +0x50 block)
        a0 = (i64.add a0 1)
        i64.store +0x50 block a0
        i64.store +0x208 block (i64.sub budget 1)
        code = (csr 4416 11 10)
        if unlikely code
          if (i32.eq code 9)
            budget = (i64.sub budget 2)
            pc = (i64.add page 8)
            br L1
          end
          budget = (i64.sub budget 1)
          pc = (i64.add page 4)
          br L1
        end
        a1 = (i64.load +0x58 block)
        tlb = (i32.load +0x21c block)
        a1 = (i64.add a1 a0)
        i64.store +0x58 block a1
        code = 3
        budget = (i64.sub budget 3)
        pc = (i64.add page 12)
        br L1
        unreachable
      end
      "
    `);
  });
});
