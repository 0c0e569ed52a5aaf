/** Page tables and modes that a program in S-mode changes under itself: what a region reads next is read by the new ones. */
import { describe, expect, it } from 'vitest';
import { Random } from '../../../test/oracle/random.ts';
import { asm } from '../hart/assembly-for-tests.ts';
import { CAUSE } from '../hart/cause.ts';
import { WIDE } from '../hart/state.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import type { OpName } from '../instructions/table.ts';
import { addi, assemble, branch, type Line, takeIn } from './code-for-tests.ts';
import { FREE, HANDLER, HANDLER_PAGE, LEAF_ENTRIES, LEAVES, PAGE, Pair, PTE, RW } from './pair-for-tests.ts';

const CODE = 0x10;
const [A1, S0, S1, S2, S3, S4, S5, S6] = [11, 8, 9, 18, 19, 20, 21, 22];
/** Two addresses of one page of data. */
const [A, B] = [0x40, 0x50];
const [DATA, BEHIND, TWIN, OTHER] = [FREE + 8, FREE + 9, FREE + 10, FREE + 11];
const PASSES = 12;
/** The pass that changes something. */
const WRITING_PASS = 5;

describe('tables that a program changes under itself, in S-mode', () => {
  const SV = PTE.V | PTE.R | PTE.W;
  /** The leaf table of all that is mapped here, and its virtual page as data. */
  const TABLE_OF_DATA = LEAVES[0] as number;
  const TABLE = 0x80;
  const entry = (guestPage: number, flags: number): number => (guestPage << 10) | flags;

  async function startSupervisor(label: string, lines: readonly Line[]): Promise<Pair> {
    const pair = await Pair.open(label, 'supervisor');
    pair.map(CODE, FREE, PTE.V | PTE.X | PTE.R);
    pair.map(TABLE, TABLE_OF_DATA, SV);
    pair.map(A, DATA, SV);
    pair.map(B, DATA, SV);
    for (const [i, page] of [DATA, BEHIND, TWIN, OTHER].entries()) {
      const random = new Random(100 + i);
      pair.fill(page, random);
    }
    pair.write(FREE, 0, assemble(lines));
    pair.set(S0, A * PAGE + 256);
    pair.set(S1, B * PAGE + 256);
    pair.set(S2, PASSES);
    pair.set(S3, TABLE * PAGE + 8 * A);
    pair.set(S5, PASSES - WRITING_PASS);
    pair.setPc(CODE * PAGE);
    return pair;
  }
  const END = encode('ebreak');
  const read = [encode('ld', { rd: A1, rs1: S0 }), ...takeIn(A1)];
  /** Reads; in one pass something else; reads. */
  const loop = (once: readonly Line[]): Line[] => [
    'again',
    ...read,
    branch('bne', S2, S5, 'past'),
    ...once,
    'past',
    ...read,
    encode('ld', { rd: A1, rs1: S1 }),
    ...takeIn(A1),
    addi(S2, S2, -1),
    branch('bne', S2, 0, 'again'),
    END,
  ];
  const end = (pair: Pair): void => {
    expect(pair.run(), pair.label).toBe('idle');
    expect(pair.wide(WIDE.SCAUSE), pair.label).toBe(CAUSE.BREAKPOINT);
    expect(pair.translator.regionsMade()).toBeGreaterThan(0);
  };

  it.each([
    ['one address', S0, 0],
    ['an address space', 0, S6],
    ['everything', 0, 0],
  ] as const)('another page, fenced by %s', async (_name, rs1, rs2) => {
    const pair = await startSupervisor('another page', loop([encode('sd', { rs1: S3, rs2: S4 }), asm.sfenceVma(rs1, rs2)]));
    pair.set(S4, entry(OTHER, SV));
    end(pair);
    // Once more, from the other page back to the first.
    pair.set(S4, entry(DATA, SV));
    pair.set(S2, PASSES);
    pair.each(({ hart }) => (hart.state.wide[WIDE.SEPC] = CODE * PAGE));
    end(pair);
  });

  it('no page, and then one again', async () => {
    const pair = await startSupervisor('no page', loop([encode('sd', { rs1: S3, rs2: 0 }), asm.sfenceVma(S0, 0)]));
    expect(pair.run()).toBe('idle');
    expect([pair.wide(WIDE.SCAUSE), pair.wide(WIDE.STVAL)]).toEqual([CAUSE.LOAD_PAGE_FAULT, A * PAGE + 256]);
    pair.map(A, TWIN, SV);
    end(pair);
  });

  it('a page that may not be written any more', async () => {
    const write = encode('sd', { rs1: S0, rs2: S2, imm: 16 });
    const pair = await startSupervisor('read-only', [
      ...loop([encode('sd', { rs1: S3, rs2: S4 }), asm.sfenceVma(S0, 0)]).flatMap((line) =>
        line === 'past' ? [line, write] : [line],
      ),
    ]);
    pair.set(S4, entry(DATA, PTE.V | PTE.R));
    expect(pair.run()).toBe('idle');
    expect(pair.wide(WIDE.SCAUSE)).toBe(CAUSE.STORE_PAGE_FAULT);
    pair.map(A, DATA, SV);
    end(pair);
  });

  it('the table itself, read in a loop while accesses set A and D in it, shared until then', async () => {
    // Each pass reads the entries of B and of the page that it touches for the first time; the table leaves its shared frame in the first.
    const table = (register: number): Line[] => [encode('ld', { rd: A1, rs1: register }), ...takeIn(A1)];
    for (const touch of ['ld', 'sd', 'amoadd.d', 'lr.d', 'fld'] as OpName[])
      for (const shared of [false, true]) {
        const lines: Line[] = [
          'again',
          ...table(S3),
          ...table(S4),
          encode(touch, { rd: 12, rs1: S1, rs2: S2 }),
          ...table(S4),
          ...table(S3),
          // On to the next page and its entry.
          encode('lui', { rd: 5, imm: PAGE }),
          encode('add', { rd: S1, rs1: S1, rs2: 5 }),
          addi(S4, S4, 8),
          addi(S2, S2, -1),
          branch('bne', S2, 0, 'again'),
          END,
        ];
        const pair = await startSupervisor(`${touch}, ${shared ? 'shared' : 'private'}`, lines);
        for (let i = 0; i < PASSES; i++) pair.map(B + i, DATA + i, SV);
        pair.set(S4, TABLE * PAGE + 8 * B);
        if (shared) pair.each(({ pages }) => pages.share(TABLE_OF_DATA, FREE + 60));
        end(pair);
      }
  });

  it('satp, SUM and MXR between two readings', async () => {
    const SSTATUS = 0x100;
    const [SUM, MXR] = [1 << 18, 1 << 19];
    const set = (bits: number): Line[] => [encode('csrrs', { imm: SSTATUS, rs1: bits })];
    const clear = (bits: number): Line[] => [encode('csrrc', { imm: SSTATUS, rs1: bits })];
    const cases: readonly (readonly [string, number, Line[], Line[]])[] = [
      ['SUM', RW, set(S6), clear(S6)],
      ['MXR', PTE.V | PTE.X, set(S6), clear(S6)],
    ];
    for (const [name, flags, on, off] of cases) {
      // By an address to what reads first: a region begins there, with the mode as it is.
      const again = [...on, encode('jalr', { rs1: S4 })];
      const lines = [
        ...again,
        ...read,
        ...read,
        ...off,
        ...read,
        addi(S2, S2, -1),
        branch('beq', S2, 0, 'end'),
        ...again,
        'end',
        END,
      ];
      const pair = await startSupervisor(name, lines);
      pair.map(A, DATA, flags);
      pair.set(S6, name === 'SUM' ? SUM : MXR);
      pair.set(S4, CODE * PAGE + 4 * again.length);
      // Each pass faults at the reading behind `off`; the handler steps over it.
      for (let pass = 0; pass < PASSES; pass++) {
        expect(pair.run(), name).toBe('idle');
        expect(pair.wide(WIDE.SCAUSE), name).toBe(CAUSE.LOAD_PAGE_FAULT);
        pair.each(({ hart }) => (hart.state.wide[WIDE.SEPC] = (hart.state.wide[WIDE.SEPC] as number) + 4));
      }
      end(pair);
    }
    // Two roots: in the other one the lower leaf table is another, where A leads elsewhere.
    const pair = await startSupervisor('satp', loop([asm.csrrw(S6, 0x180, S6)]));
    const [root, middle, leaf] = [FREE + 40, FREE + 41, FREE + 42];
    pair.each(({ pages }) => {
      pages.put(root * PAGE, entry(middle, PTE.V), 0);
      pages.put(middle * PAGE, entry(leaf, PTE.V), 0, ...LEAF_ENTRIES.slice(2));
      pages.put(leaf * PAGE + 8 * HANDLER_PAGE, entry(HANDLER, PTE.V | PTE.X | PTE.A), 0);
      pages.put(leaf * PAGE + 8 * CODE, entry(FREE, PTE.V | PTE.X | PTE.R), 0);
      pages.put(leaf * PAGE + 8 * A, entry(OTHER, SV), 0, entry(TWIN, SV), 0);
      pages.put(leaf * PAGE + 8 * B, entry(BEHIND, SV), 0);
    });
    pair.each(({ thread }) => thread.registers.set(S6, root, 0x8000_0000 | 0));
    end(pair);
  });
});
