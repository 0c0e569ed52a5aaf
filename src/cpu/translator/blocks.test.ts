import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encode } from '../instructions/encode-for-tests.ts';
import { type Flow, findFlow, isBack } from './blocks.ts';

const PAGE = 4096;

function pageOf(words: readonly number[], at = 0): DataView {
  const view = new DataView(new ArrayBuffer(PAGE));
  for (const [i, word] of words.entries()) view.setUint32(at + 4 * i, word, true);
  return view;
}
const jump = (imm: number): number => encode('jal', { rd: 0, imm });
const branch = (imm: number): number => encode('beq', { rs1: 10, rs2: 11, imm });
const add = encode('add', { rd: 10, rs1: 10, rs2: 11 });
const ECALL = encode('ecall');

const edges = ({ blocks, order }: Flow): string[] =>
  order.flatMap((at) => (blocks.get(at)?.successors ?? []).map((to) => `${at}→${to}`));

describe('the flow of a region', () => {
  it('has a block for each place that is jumped to, and ends with what only the hart can do', () => {
    // 0: add; beq 12; 8: add; 12: add; beq 0; 20: ecall
    const flow = findFlow(pageOf([add, branch(8), add, add, branch(-16), ECALL]), 0, 400) as Flow;
    expect(flow.order).toEqual([0, 8, 12, 20]);
    expect(edges(flow)).toEqual(['0→8', '0→12', '8→12', '12→20', '12→0']);
    expect(flow.dominated.get(0)).toEqual([8, 12]);
    expect(flow.blocks.get(20)?.end).toBe(24);
  });

  it('is null where nothing can be translated', () => {
    expect(findFlow(pageOf([ECALL]), 0, 400)).toBeNull();
    expect(findFlow(pageOf([0]), 0, 400)).toBeNull();
    // Half an instruction, at the end of the page.
    expect(findFlow(pageOf([add], 0), PAGE - 2, 400)).toBeNull();
  });

  it('is left where it would lead into a loop beside its head', () => {
    // 0: beq 12; 4: add; 8: j 12; 12: add; 16: j 4: two ways into the loop of 4 and 12.
    const flow = findFlow(pageOf([branch(12), add, jump(4), add, jump(-12)]), 0, 400) as Flow;
    expect(edges(flow)).toEqual(['0→4', '0→12', '12→4']);
  });

  it('stays below the number of instructions, and the rest is outside', () => {
    const flow = findFlow(pageOf(new Array<number>(900).fill(branch(4))), 0, 40) as Flow;
    expect(flow.order.length).toBeLessThanOrEqual(40);
    for (const block of flow.blocks.values()) for (const to of block.successors) expect(flow.blocks.has(to)).toBe(true);
  });

  it('has no more straight code than that either', () => {
    const flow = findFlow(pageOf(new Array<number>(900).fill(add)), 0, 40) as Flow;
    expect(flow.blocks.get(0)?.instructions.length).toBe(40);
    expect(edges(flow)).toEqual([]);
  });

  it('is reducible whatever the code is: every edge back leads to a block that dominates where it comes from', () => {
    const word = fc.oneof(
      fc.constant(add),
      fc.integer({ min: -24, max: 24 }).map((i) => branch(4 * i)),
      fc.integer({ min: -24, max: 24 }).map((i) => jump(4 * i)),
      fc.integer(),
    );
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 60 }), fc.nat(59), (words, start) => {
        const flow = findFlow(pageOf(words, 1024), 1024 + 4 * start, 400);
        if (flow === null) return;
        const parent = new Map([...flow.dominated].flatMap(([at, children]) => children.map((child) => [child, at])));
        for (const at of flow.order) {
          for (const to of flow.blocks.get(at)?.successors ?? []) {
            if (!isBack(flow, at, to)) continue;
            const above: (number | undefined)[] = [];
            for (let each: number | undefined = at; each !== undefined; each = parent.get(each)) above.push(each);
            expect(above).toContain(to);
          }
        }
      }),
    );
  });
});
