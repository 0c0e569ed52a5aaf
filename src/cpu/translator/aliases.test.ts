/**
 * Pages under several addresses, as code and as data, while a region runs: what is written through one address is there under the other at once,
 * also when the write gives the page another frame.
 */
import { describe, expect, it } from 'vitest';
import { Random } from '../../../test/oracle/random.ts';
import { TLB_ENTRIES } from '../../layout/thread-block.ts';
import { CAUSE } from '../hart/cause.ts';
import type { TestMachine } from '../hart/machine-for-tests.ts';
import { WIDE } from '../hart/state.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import { addi, assemble, branch, ECALL, type Line, randomInstruction, ret, SCRATCH_REGISTERS, takeIn } from './code-for-tests.ts';
import { DEVICE, FREE, PAGE, Pair, RW, RX } from './pair-for-tests.ts';

const CODE = 0x10;
const [RA, A0, A1, S0, S1, S2, S3, S4, S5, S6] = [1, 10, 11, 8, 9, 18, 19, 20, 21, 22];
/** Two addresses of one page of data, and those that have their entries in the TLB. */
const [A, B] = [0x40, 0x50];
const [BESIDE_A, BESIDE_B] = [A + TLB_ENTRIES, B + TLB_ENTRIES];
/** Guest pages of the data: the page of both addresses, the page behind it, what it is shared with, what lies beside it in the TLB. */
const [DATA, BEHIND, TWIN, OTHER] = [FREE + 8, FREE + 9, FREE + 10, FREE + 11];
const PASSES = 12;
/** The pass that writes. */
const WRITING_PASS = 5;

/** What the page is when the program begins. */
const STATES: Readonly<Record<string, (pair: Pair, random: Random) => void>> = {
  zero: () => {},
  private: (pair, random) => pair.fill(DATA, random),
  shared: (pair, random) => {
    pair.fill(DATA, random);
    pair.each(({ pages }) => pages.share(DATA, TWIN));
  },
  'a view': (pair, random) => {
    pair.fill(TWIN, random);
    pair.each(({ pages }) => pages.share(TWIN, DATA));
  },
  code: (pair, random) => {
    pair.fill(DATA, random);
    pair.each(({ pages }) => pages.frameForFetch(DATA));
  },
};

async function start(label: string, state: string, random: Random, lines: readonly Line[]): Promise<Pair> {
  const pair = await Pair.open(`${label}, page ${state}`);
  pair.map(CODE, FREE, RX);
  for (const page of [A, B]) {
    pair.map(page, DATA, RW);
    pair.map(page + 1, BEHIND, RW);
    pair.map(page + TLB_ENTRIES, OTHER, RW);
  }
  STATES[state]?.(pair, random);
  pair.write(FREE, 0, assemble(lines));
  for (const register of SCRATCH_REGISTERS) pair.set(register, random.between(-100, 100));
  pair.set(S0, A * PAGE + 256);
  pair.set(S1, B * PAGE + 256);
  pair.set(S2, PASSES);
  pair.set(S3, BESIDE_A * PAGE + 512);
  pair.set(S4, BESIDE_B * PAGE + 512);
  pair.set(S5, PASSES - WRITING_PASS);
  pair.setPc(CODE * PAGE);
  return pair;
}

function runToEnd(pair: Pair): void {
  expect(pair.run(), pair.label).toBe('idle');
  expect(pair.wide(WIDE.SCAUSE), pair.label).toBe(CAUSE.ECALL_USER);
  expect(pair.translator.regionsMade()).toBeGreaterThan(0);
}

describe('data under two addresses, in a loop that reads through the one', () => {
  const reads: Readonly<Record<string, readonly number[]>> = {
    ld: [encode('ld', { rd: A1, rs1: S0 })],
    lbu: [encode('lbu', { rd: A1, rs1: S0, imm: 3 })],
    fld: [encode('fld', { rd: 1, rs1: S0 }), encode('fmv.x.d', { rd: A1, rs1: 1 })],
    'lr.d': [encode('lr.d', { rd: A1, rs1: S0 })],
    'ld across': [encode('addi', { rd: 6, rs1: S0, imm: 2047 }), encode('ld', { rd: A1, rs1: 6, imm: PAGE - 256 - 2047 - 4 })],
  };
  const writes: Readonly<Record<string, readonly number[]>> = {
    sd: [encode('sd', { rs1: S1, rs2: S2 })],
    'sd zero': [encode('sd', { rs1: S1, rs2: 0 })],
    sb: [encode('sb', { rs1: S1, rs2: S2, imm: 3 })],
    fsd: [encode('fmv.d.x', { rd: 2, rs1: S2 }), encode('fsd', { rs1: S1, rs2: 2 })],
    amo: [encode('amoadd.d', { rd: 7, rs1: S1, rs2: S2 })],
    sc: [encode('lr.w', { rd: 7, rs1: S1 }), encode('sc.w', { rd: 28, rs1: S1, rs2: S2 })],
    'sd across': [encode('addi', { rd: 6, rs1: S1, imm: 2047 }), encode('sd', { rs1: 6, rs2: S2, imm: PAGE - 256 - 2047 - 4 })],
  };
  /** What stands between the reading and the write: nothing, or accesses that take the TLB's entries. */
  const between: Readonly<Record<string, readonly number[]>> = {
    nothing: [],
    'the TLB entry of A taken': [encode('lw', { rd: 29, rs1: S3 })],
    'the TLB entry of B taken': [encode('sw', { rs1: S4, rs2: 29 })],
  };

  /** Reads, in one pass writes once, and reads again. */
  const oneWrite = (read: readonly number[], write: readonly number[], middle: readonly number[]): Line[] => [
    'again',
    ...read,
    ...takeIn(A1),
    ...middle,
    branch('bne', S2, S5, 'past'),
    ...write,
    'past',
    ...read,
    ...takeIn(A1),
    addi(S2, S2, -1),
    branch('bne', S2, 0, 'again'),
    ECALL,
  ];

  it.each(Object.keys(STATES))('and one write through the other, to a page that is %s', async (state) => {
    for (const [readName, read] of Object.entries(reads))
      for (const [writeName, write] of Object.entries(writes))
        for (const [betweenName, middle] of Object.entries(between)) {
          const label = `${readName}, ${betweenName}, ${writeName}`;
          runToEnd(await start(label, state, new Random(1), oneWrite(read, write, middle)));
        }
  });

  it.each(Object.keys(STATES))('and that is read, then written, through both, to a page that is %s', async (state) => {
    // A write through A first, so that its grant is one to write; then the page is made a view again, and written through B.
    const lines: Line[] = [
      'again',
      encode('ld', { rd: A1, rs1: S0 }),
      ...takeIn(A1),
      encode('sd', { rs1: S0, rs2: S2, imm: 8 }),
      encode('ld', { rd: A1, rs1: S1, imm: 8 }),
      ...takeIn(A1),
      encode('sd', { rs1: S1, rs2: A0, imm: 0 }),
      encode('ld', { rd: A1, rs1: S0 }),
      ...takeIn(A1),
      addi(S2, S2, -1),
      branch('bne', S2, 0, 'again'),
      ECALL,
    ];
    runToEnd(await start('both', state, new Random(2), lines));
  });

  it.each(Object.keys(STATES))('in a loop that is left for the write and entered again, to a page that is %s', async (state) => {
    // The outer loop asks for a CSR: only the inner ones may keep anything.
    const inner = (label: string, base: number): Line[] => [
      addi(S6, 0, 4),
      label,
      encode('ld', { rd: A1, rs1: base }),
      ...takeIn(A1),
      addi(S6, S6, -1),
      branch('bne', S6, 0, label),
    ];
    for (const [name, write] of Object.entries(writes)) {
      const lines = [
        'again',
        ...inner('first', S0),
        encode('csrrs', { rd: A1, imm: 0xc02 }),
        ...takeIn(A1),
        branch('bne', S2, S5, 'past'),
        ...write,
        'past',
        ...inner('second', S0),
        ...inner('third', S1),
        addi(S2, S2, -1),
        branch('bne', S2, 0, 'again'),
        ECALL,
      ];
      runToEnd(await start(`left and entered, ${name}`, state, new Random(6), lines));
    }
  });

  it('and many stores of zeros, which take no frame for long, and then one that is none', async () => {
    const lines: Line[] = [
      'zeros',
      encode('sd', { rs1: S1, rs2: 0 }),
      encode('ld', { rd: A1, rs1: S0 }),
      ...takeIn(A1),
      addi(S6, S6, -1),
      branch('bne', S6, 0, 'zeros'),
      ...oneWrite(reads['ld'] as number[], writes['sd'] as number[], []),
    ];
    for (const zeros of [1, 1000, 1023, 1024, 1025, 1500]) {
      const pair = await start(`${zeros} zeros`, 'zero', new Random(3), lines);
      pair.set(S6, zeros);
      runToEnd(pair);
    }
  });

  /** What devices do with the page while the store that tells them is on. */
  const deeds: Readonly<Record<string, (machine: TestMachine) => void>> = {
    'writes to it': ({ pages }) => pages.put(DATA * PAGE + 256, 0x1234_5678, 0x9abc_def0 | 0),
    'puts a view in its place': ({ pages }) => pages.share(TWIN, DATA),
    'shares it': ({ pages }) => pages.share(DATA, TWIN),
    'makes it code': ({ pages }) => pages.frameForFetch(DATA),
  };
  const DEVICE_PAGE = 0x70;
  const tell = encode('sw', { rs1: S6, rs2: S2, imm: 16 });

  async function startWithDevice(
    label: string,
    state: string,
    random: Random,
    lines: readonly Line[],
    chosen: readonly string[],
  ): Promise<Pair> {
    const pair = await start(label, state, random, lines);
    pair.fill(TWIN, random);
    pair.map(DEVICE_PAGE, DEVICE, RW);
    pair.set(S6, DEVICE_PAGE * PAGE);
    pair.each(
      (machine) => (machine.bus.onWrite = () => deeds[chosen[machine.bus.log.length % chosen.length] as string]?.(machine)),
    );
    return pair;
  }

  it.each(Object.keys(deeds))('while a device %s', async (deed) => {
    for (const state of Object.keys(STATES))
      for (const [readName, read] of Object.entries(reads))
        for (const [writeName, write] of Object.entries(writes)) {
          const lines = oneWrite([...write, ...read], [tell], [...read, ...write]);
          const pair = await startWithDevice(`${readName}, ${writeName}, a device ${deed}`, state, new Random(4), lines, [deed]);
          runToEnd(pair);
          expect(pair.interpreter.bus.log.length).toBe(1);
        }
  });

  it('at random: loads, stores, atomics through all addresses, in loops with branches', async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed);
      const some = (most: number): Line[] =>
        Array.from({ length: random.between(1, most) }, () => randomInstruction(random, [S0, S1, S3, S4], random.oneIn(2)));
      const lines: Line[] = ['again', ...some(10)];
      for (let block = 0; block < 3; block++) {
        // In one pass only: most of the time nothing is written.
        lines.push(
          addi(S6, S2, -random.between(1, PASSES)),
          branch('bne', S6, 0, `past${block}`),
          ...some(6),
          `past${block}`,
          ...some(4),
        );
      }
      lines.push(addi(S2, S2, -1), branch('bne', S2, 0, 'again'), ECALL);
      const chosen = [random.pick(Object.keys(deeds)), random.pick(Object.keys(deeds))];
      const pair = await startWithDevice(`seed ${seed}`, random.pick(Object.keys(STATES)), random, lines, chosen);
      const edge = (): number => (random.oneIn(3) ? PAGE - 8 * random.between(1, 16) - 4 * random.below(2) : 256);
      const at = edge() & -8;
      pair.set(S0, A * PAGE + at);
      pair.set(S1, B * PAGE + at);
      runToEnd(pair);
    }
  });

  it('with merges, moves and ages between the slices', async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Random(seed);
      const lines = [
        addi(S6, 0, 100),
        'more',
        addi(S2, 0, PASSES),
        ...oneWrite(
          reads['ld'] as number[],
          [...(writes['sd'] as number[]), ...(writes['amo'] as number[])],
          between['the TLB entry of A taken'] as number[],
        ).slice(0, -1),
        addi(S6, S6, -1),
        branch('bne', S6, 0, 'more'),
        ECALL,
      ];
      const pair = await start(`seed ${seed}`, random.pick(Object.keys(STATES)), random, lines);
      pair.each((machine) => {
        const { hart, pages, thread } = machine;
        for (let slice = 0; ; slice++) {
          if (hart.run(random.between(20, 400)) === 'idle') break;
          expect(slice).toBeLessThan(2000);
          const happens = [() => pages.share(DATA, TWIN), () => thread.tlb.dropAllWrites(), () => pages.frameForFetch(DATA)];
          random.pick(happens)();
        }
      });
      // TWIN is what it was last shared as, which the slices decide.
      pair.each(({ pages }) => pages.share(DATA, TWIN));
      expect(pair.differences(), pair.label).toEqual([]);
    }
  });
});

describe('code under two addresses', () => {
  const call = (register: number): number => encode('jalr', { rd: RA, rs1: register });
  /** Gives its own address, and the link of a jump in it. */
  const FUNCTION: Line[] = [
    encode('addi', { rd: 6, rs1: RA }),
    encode('auipc', { rd: A1 }),
    ...takeIn(A1),
    encode('jal', { rd: RA, imm: 4 }),
    ...takeIn(RA),
    encode('jalr', { rd: 0, rs1: 6 }),
  ];
  const lines: Line[] = ['again', call(S0), call(S1), call(S3), addi(S2, S2, -1), branch('bne', S2, 0, 'again'), ECALL];

  it.each(['one frame', 'a frame for each', 'frames that are merged, and taken apart'])(
    '%s: what is relative to PC is not the same',
    async (frames) => {
      const pair = await start(frames, 'zero', new Random(5), lines);
      const [first, second] = [0x90, 0x1a0];
      const bytes = assemble(FUNCTION);
      pair.write(FREE + 2, 128, bytes);
      pair.write(FREE + 3, 128, bytes);
      pair.map(first, FREE + 2, RX);
      pair.map(second, frames === 'one frame' ? FREE + 2 : FREE + 3, RX);
      pair.map(first + TLB_ENTRIES, FREE + 2, RX);
      pair.set(S0, first * PAGE + 128);
      pair.set(S1, second * PAGE + 128);
      pair.set(S3, (first + TLB_ENTRIES) * PAGE + 128);
      runToEnd(pair);
      if (frames.startsWith('frames')) {
        pair.each(({ pages }) => pages.share(FREE + 2, FREE + 3));
        again(pair);
        // One of them gets other code, and then the other.
        pair.write(FREE + 3, 128, assemble([addi(A0, A0, 5), ret]));
        again(pair);
        pair.write(FREE + 2, 128, assemble([addi(A0, A0, 7), ret]));
        again(pair);
      }
    },
  );

  function again(pair: Pair): void {
    pair.set(S2, PASSES);
    pair.each(({ hart }) => (hart.state.wide[WIDE.SEPC] = CODE * PAGE));
    runToEnd(pair);
  }
});
