/** Traps, waits and calls to leave, in every position of a region: both engines stop with the same state, and go on to the same end. */
import { describe, expect, it } from 'vitest';
import { Random } from '../../../test/oracle/random.ts';
import { CAUSE } from '../hart/cause.ts';
import type { TestMachine } from '../hart/machine-for-tests.ts';
import { WIDE } from '../hart/state.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import type { OpName } from '../instructions/table.ts';
import {
  addi,
  assemble,
  branch,
  CSR_NUMBERS,
  ECALL,
  jump,
  type Line,
  randomCsr,
  randomInstruction,
  SCRATCH_REGISTERS,
} from './code-for-tests.ts';
import { DEVICE, FREE, PAGE, Pair, PTE, RAM, RW, RX } from './pair-for-tests.ts';

const CODE = 0x10;
const GOOD = 0x40;
/** The page before it may be used as the program likes. */
const BAD = 0x51;
const [S0, S1, S2, S3] = [8, 9, 18, 19];
const BASES = [S0];
const POSITIONS = 8;
const STRIDE = 32;
/** The pass of a loop that comes to the bad page. */
const BAD_PASS = 2;

type Shape = 'straight' | 'loop' | 'branches';

/** The fault stands at `position` of eight random instructions; the loops' last base moves on in each pass. */
function program(shape: Shape, position: number, fault: readonly number[], random: Random, float: boolean): Line[] {
  const body: Line[] = Array.from({ length: POSITIONS - 1 }, () => randomInstruction(random, BASES, float));
  body.splice(position, 0, ...fault);
  if (shape === 'straight') return [...body, ECALL];
  const again = [addi(S1, S1, STRIDE), addi(S2, S2, -1), branch('bne', S2, 0, 'again'), ECALL];
  if (shape === 'loop') return ['again', ...body, ...again];
  const [a, b] = [3, 6];
  return [
    'again',
    ...body.slice(0, a),
    encode('andi', { rd: S3, rs1: S2, imm: 1 }),
    branch('beq', S3, 0, 'else'),
    ...body.slice(a, b),
    jump('join'),
    'else',
    ...body.slice(a, b).reverse(),
    'join',
    ...body.slice(b),
    ...again,
  ];
}

interface Fault {
  readonly name: string;
  readonly words: readonly number[];
  /** Where the bad page leads at first, and with which flags. */
  readonly page?: readonly [guestPage: number, flags: number];
  readonly absent?: boolean;
  /** Distance of the access from the start of the bad page. */
  readonly offset?: number;
  readonly fs?: number;
  readonly frm?: number;
  readonly onDevice?: (machine: TestMachine) => void;
}

async function start(fault: Fault, shape: Shape, position: number, seed: number): Promise<Pair> {
  const random = new Random(seed);
  const pair = await Pair.open(`${fault.name}, ${shape}, position ${position}, seed ${seed}`);
  pair.map(CODE, FREE, RX);
  pair.map(GOOD, FREE + 1, RW);
  pair.map(BAD - 1, FREE + 2, RW);
  if (fault.page) pair.map(BAD, ...fault.page);
  if (fault.absent) {
    pair.map(BAD, FREE + 3, RW);
    pair.each(({ pages }) => pages.absent.add(FREE + 3));
  }
  // Random content in the pages that are read.
  for (const page of [1, 2])
    pair.write(
      FREE + page,
      0,
      Uint8Array.from({ length: PAGE }, () => random.below(256)),
    );
  pair.write(FREE, 0, assemble(program(shape, position, fault.words, random, fault.fs === undefined && fault.frm === undefined)));
  for (const register of SCRATCH_REGISTERS) pair.set(register, random.between(-1000, 1000));
  pair.set(S0, GOOD * PAGE + 512);
  const bad = BAD * PAGE + (fault.offset ?? 0);
  pair.set(S1, shape === 'straight' ? bad : bad - BAD_PASS * STRIDE);
  // Now the one way of the branches is the first, now the other.
  pair.set(S2, 4 + (seed & 1));
  pair.each(({ bus, thread }) => {
    thread.registers.fs = fault.fs ?? 1;
    thread.registers.frm = fault.frm ?? 0;
    bus.readValue = 0x1234;
  });
  if (fault.onDevice) pair.each((machine) => (machine.bus.onWrite = () => fault.onDevice?.(machine)));
  pair.setPc(CODE * PAGE);
  return pair;
}

/** What a kernel would do about the trap that both are in. False: the program has ended. */
function mend(pair: Pair): boolean {
  const cause = pair.wide(WIDE.SCAUSE);
  const skip = (): void => pair.each(({ hart }) => (hart.state.wide[WIDE.SEPC] = (hart.state.wide[WIDE.SEPC] as number) + 4));
  switch (cause) {
    case CAUSE.ECALL_USER:
      return false;
    case CAUSE.LOAD_PAGE_FAULT:
    case CAUSE.STORE_PAGE_FAULT:
    case CAUSE.LOAD_ACCESS:
    case CAUSE.STORE_ACCESS:
      pair.map(pair.wide(WIDE.STVAL) >>> 12, FREE + 3, RW);
      return true;
    case CAUSE.LOAD_MISALIGNED:
    case CAUSE.STORE_MISALIGNED:
      for (const base of [S0, S1, S3]) pair.set(base, Number(pair.x(base)) & ~7);
      return true;
    case CAUSE.ILLEGAL:
      if (pair.interpreter.thread.registers.fs === 0) pair.each(({ thread }) => (thread.registers.fs = 1));
      else if (pair.interpreter.thread.registers.frm > 4) pair.each(({ thread }) => (thread.registers.frm = 3));
      else skip();
      return true;
    default:
      expect([CAUSE.BREAKPOINT, 9], pair.label).toContain(cause);
      if (cause === CAUSE.BREAKPOINT) skip();
      else pair.each(({ hart }) => hart.setExternalInterrupt(false));
      return true;
  }
}

/** Runs to the end, mending; gives the number of stops before it. */
function runToEnd(pair: Pair): number {
  for (let stops = 0; stops < 100; stops++) {
    const result = pair.run();
    if (result === 'wait') pair.each(({ pages }) => pages.absent.clear());
    else if (result !== 'leave-requested' && !mend(pair)) return stops;
  }
  return expect.unreachable(`${pair.label}: no end`);
}

/** Never the same twice: code that was seen before has its regions. */
let seed = 1;

async function inEveryPosition(
  faults: readonly Fault[],
  shapes: readonly Shape[] = ['straight', 'loop', 'branches'],
): Promise<void> {
  for (const fault of faults)
    for (const shape of shapes)
      for (let position = 0; position < POSITIONS; position++) {
        const pair = await start(fault, shape, position, seed++);
        expect(runToEnd(pair), pair.label).toBeGreaterThan(0);
        expect(pair.regions, pair.label).toBeGreaterThan(0);
      }
}

const access = (op: OpName): number => encode(op, { rd: 10, rs1: S1, rs2: 11 });
const LOADS = ['lb', 'lh', 'lw', 'ld', 'lbu', 'lhu', 'lwu', 'flw', 'fld', 'lr.w', 'lr.d'] as const;
const STORES = ['sb', 'sh', 'sw', 'sd', 'fsw', 'fsd'] as const;
const MODIFICATIONS = ['amoadd.w', 'amoswap.d', 'amominu.w', 'amomax.d'] as const;
const SOME = ['ld', 'fld', 'sw', 'fsd', 'amoadd.d'] as const;
const COMPRESSED = { 'c.ld': 0x6080 | (2 << 2), 'c.sw': 0xc080 | (2 << 2), 'c.fld': 0x2080 | (2 << 2) };
const NOWHERE = RAM + 2048;
const READ_ONLY = PTE.V | PTE.R | PTE.U | PTE.A;

describe('in every position of a region, both engines', () => {
  it('fault on a page that is not mapped', { timeout: 60_000 }, async () => {
    const ops: readonly OpName[] = [...LOADS, ...STORES, ...MODIFICATIONS];
    await inEveryPosition(ops.map((op) => ({ name: op, words: [access(op)] })));
    // Compressed loads and stores: a0, offset 0 from s1.
    await inEveryPosition(Object.entries(COMPRESSED).map(([name, word]) => ({ name, words: [word] })));
  });

  it('fault on a page that may only be read, and one that is the supervisor’s', async () => {
    const writes: readonly OpName[] = [...STORES, ...MODIFICATIONS];
    await inEveryPosition(
      writes.map((op) => ({ name: `${op}, read-only`, words: [access(op)], page: [FREE + 3, READ_ONLY] })),
      ['loop'],
    );
    // A conditional store looks at its page only if there is a reservation.
    const pair: Fault = { name: 'lr, sc', words: [access('lr.d'), access('sc.d')], page: [FREE + 3, READ_ONLY] };
    const all = SOME.map((op): Fault => ({ name: `${op}, forbidden`, words: [access(op)], page: [FREE + 3, RW & ~PTE.U] }));
    await inEveryPosition([pair, ...all], ['straight', 'branches']);
  });

  it('fault where there is no memory', async () => {
    const faults = SOME.map((op): Fault => ({ name: `${op}, nowhere`, words: [access(op)], page: [NOWHERE, RW] }));
    await inEveryPosition([...faults, { name: 'amo on a device', words: [access('amoadd.w')], page: [DEVICE, RW] }], ['loop']);
  });

  it('fault, or wait, for the second page of an access that crosses', async () => {
    const ops: readonly OpName[] = ['lh', 'lw', 'ld', 'flw', 'fld', 'sh', 'sw', 'sd', 'fsw', 'fsd'];
    await inEveryPosition(
      ops.map((op) => ({ name: `${op} across`, words: [access(op)], offset: -1 })),
      ['loop'],
    );
    await inEveryPosition(
      ops.map((op) => ({ name: `${op} across, absent`, words: [access(op)], offset: -1, absent: true })),
      ['branches'],
    );
  });

  it('wait for a page, and start the instruction again', async () => {
    const ops: readonly OpName[] = [...SOME, 'lb', 'sb', 'lr.d', 'amoor.w'];
    await inEveryPosition(ops.map((op) => ({ name: `${op}, absent`, words: [access(op)], absent: true })));
  });

  it('fault on atomics that are misaligned', async () => {
    const ops: readonly OpName[] = ['lr.w', 'lr.d', 'sc.w', 'sc.d', 'amoadd.w', 'amoswap.d'];
    const faults = ops.map((op): Fault => ({ name: `${op}, misaligned`, words: [access(op)], page: [FREE + 3, RW], offset: 2 }));
    await inEveryPosition(faults);
  });

  it('say that floating point is off, or the rounding mode reserved', async () => {
    const ops: readonly OpName[] = ['fadd.d', 'fmul.s', 'fld', 'fsw', 'feq.d', 'fmv.x.d', 'fcvt.d.w'];
    const word = (op: OpName, rm: number): number =>
      encode(op, { rd: 10, rs1: op === 'fld' || op === 'fsw' ? S0 : 11, rs2: 12, rm });
    await inEveryPosition(
      ops.map((op) => ({ name: `${op}, off`, words: [word(op, 0)], fs: 0 })),
      ['loop', 'branches'],
    );
    const rounded: readonly OpName[] = ['fadd.d', 'fdiv.s', 'fsqrt.d', 'fmadd.s', 'fcvt.l.d', 'fcvt.s.d'];
    await inEveryPosition(
      rounded.map((op) => ({ name: `${op}, reserved`, words: [word(op, 7)], frm: 5 })),
      ['loop', 'branches'],
    );
  });

  it('look anew at floating point behind a write of its CSRs', async () => {
    const add = encode('fadd.d', { rd: 3, rs1: 1, rs2: 2, rm: 7 });
    // 1/3 is inexact both times, whatever the flags were before.
    const third = [addi(5, 0, 1), addi(6, 0, 3), encode('fcvt.d.w', { rd: 1, rs1: 5 }), encode('fcvt.d.w', { rd: 2, rs1: 6 })];
    const divide = encode('fdiv.d', { rd: 3, rs1: 1, rs2: 2 });
    const set = (csr: number, value: number): number => encode('csrrwi', { rs1: value, imm: csr });
    await inEveryPosition([
      { name: 'frm', words: [add, set(CSR_NUMBERS.frm, 5), add] },
      { name: 'fcsr', words: [add, set(CSR_NUMBERS.fcsr, 0), set(CSR_NUMBERS.frm, 6), add] },
      { name: 'fflags', words: [...third, divide, set(CSR_NUMBERS.fflags, 0), divide, encode('ebreak')] },
    ]);
    // FS is the supervisor's.
    const [SSTATUS, FS] = [0x100, 0x6000];
    const clear = encode('csrrc', { rs1: S1, imm: SSTATUS });
    for (const between of [0, 1, 2, 3]) {
      const nops = Array.from({ length: between }, () => addi(10, 10, 1));
      const pair = await Pair.open(`FS, ${between}`, 'supervisor');
      pair.map(CODE, FREE, PTE.V | PTE.R | PTE.X);
      pair.write(
        FREE,
        0,
        assemble(['again', add, ...nops, clear, ...nops, add, addi(S2, S2, -1), branch('bne', S2, 0, 'again'), encode('ebreak')]),
      );
      pair.set(S1, FS);
      pair.set(S2, 3);
      pair.setPc(CODE * PAGE);
      for (let pass = 0; pass < 3; pass++) {
        expect([pair.run(), pair.wide(WIDE.SCAUSE)], pair.label).toEqual(['idle', CAUSE.ILLEGAL]);
        pair.each(({ thread }) => (thread.registers.fs = 1));
      }
      expect([pair.run(), pair.wide(WIDE.SCAUSE)], pair.label).toEqual(['idle', CAUSE.BREAKPOINT]);
    }
  });

  it('stop at what a region ends before, and go on behind it', async () => {
    const words = {
      ecall: encode('ebreak'),
      illegal: 0xffff_ffff | 0,
      supervisor: encode('sret'),
      csr: encode('csrrw', { imm: 0x100 }),
    };
    await inEveryPosition(Object.entries(words).map(([name, word]) => ({ name, words: [word] })));
  });

  it('leave behind a store to a device that asks for it, or raises an interrupt', async () => {
    const device = {
      words: [encode('sw', { rs1: S1, rs2: 11 }), encode('lw', { rd: 10, rs1: S1 })],
      page: [DEVICE, RW],
    } as const;
    const interrupt = ({ hart }: TestMachine): void => {
      hart.state.interruptEnable = 1 << 9;
      hart.setExternalInterrupt(true);
    };
    await inEveryPosition([
      { name: 'leave', ...device, onDevice: ({ hart }) => hart.requestLeave() },
      { name: 'interrupt', ...device, onDevice: interrupt },
    ]);
  });
});

/** Loops and branches over pages in any state; the bases lie near page ends, and move. */
describe('random programs that fault in many places', () => {
  const PAGES = 8;
  const STATES: readonly (readonly [flags: number, absent: boolean])[] = [
    [RW, false],
    [RW, true],
    [READ_ONLY, false],
    [READ_ONLY, true],
    [0, false],
    [PTE.V | PTE.R | PTE.X | PTE.A, false],
  ];
  const bases = [S0, S1, S3];

  function randomProgram(random: Random): Line[] {
    const lines: Line[] = ['again'];
    const blocks = random.between(2, 5);
    const some = (): Line[] =>
      Array.from({ length: random.between(1, 8) }, () =>
        random.oneIn(15) ? randomCsr(random, Object.values(CSR_NUMBERS)) : randomInstruction(random, bases, true),
      );
    for (let block = 0; block < blocks; block++) {
      lines.push(
        ...some(),
        branch(random.pick(['beq', 'blt', 'bgeu']), random.pick(SCRATCH_REGISTERS), random.pick(SCRATCH_REGISTERS), `b${block}`),
      );
      lines.push(...some(), `b${block}`);
    }
    for (const base of bases) lines.push(addi(base, base, random.between(-300, 700)));
    return [...lines, addi(S2, S2, -1), branch('bne', S2, 0, 'again'), ECALL];
  }

  it('150 of them', async () => {
    let stops = 0;
    for (let seed = 1; seed <= 150; seed++) {
      const random = new Random(seed + 1_000_000);
      const pair = await Pair.open(`seed ${seed}`);
      pair.map(CODE, FREE, RX);
      pair.write(FREE, 0, assemble(randomProgram(random)));
      for (let page = 0; page < PAGES; page++) {
        const [flags, absent] = random.pick(STATES);
        const guestPage = FREE + 1 + page;
        if (!random.oneIn(3))
          pair.write(
            guestPage,
            0,
            Uint8Array.from({ length: PAGE }, () => random.below(256)),
          );
        pair.map(GOOD + page, guestPage, flags);
        if (absent) pair.each(({ pages }) => pages.absent.add(guestPage));
      }
      for (const register of SCRATCH_REGISTERS) pair.set(register, random.between(-3, 3));
      for (const base of bases)
        pair.set(base, (GOOD + random.between(2, 3)) * PAGE + (random.oneIn(2) ? -64 : random.below(4096)));
      pair.set(S2, random.between(1, 12));
      const fs = random.below(2);
      pair.each(({ thread }) => (thread.registers.fs = fs));
      pair.setPc(CODE * PAGE);
      stops += runToEnd(pair);
      expect(pair.regions).toBeGreaterThan(0);
    }
    expect(stops).toBeGreaterThan(500);
  });
});
