/** Code that is written while it is in use: both engines run what was written once the guest has fenced, and so does what the test expects. */
import { describe, expect, it } from 'vitest';
import { Random } from '../../../test/oracle/random.ts';
import { CAUSE } from '../hart/cause.ts';
import { WIDE } from '../hart/state.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import { addi, assemble, branch, ECALL, jump, type Line, offsetsOf, ret } from './code-for-tests.ts';
import { FREE, PAGE, Pair, RW, RWX, RX } from './pair-for-tests.ts';

const CODE = 0x10;
/** A second virtual address of the code's page, and one of the page of functions behind it. */
const ALIAS = 0x60;
const [RA, A0, A1, A2, A3, S2, S3] = [1, 10, 11, 12, 13, 18, 19];
const FENCE = encode('fence.i');
const EBREAK = encode('ebreak');
const sw = (rs2: number, rs1: number, imm = 0): number => encode('sw', { rs1, rs2, imm });
const call = (register: number): number => encode('jalr', { rd: RA, rs1: register });
const offsetOf = (lines: readonly Line[], label: string): number => offsetsOf(lines)[lines.indexOf(label)] as number;

/** The code's page and the one behind it, both writable, both also at ALIAS. */
async function start(label: string, lines: readonly Line[], offset = 0): Promise<Pair> {
  const pair = await Pair.open(label);
  for (const page of [0, 1]) {
    pair.map(CODE + page, FREE + page, RWX);
    pair.map(ALIAS + page, FREE + page, RW);
  }
  pair.write(FREE, offset, assemble(lines));
  pair.setPc(CODE * PAGE + offset);
  return pair;
}

function runToEnd(pair: Pair): void {
  expect(pair.run(), pair.label).toBe('idle');
  expect(pair.wide(WIDE.SCAUSE), pair.label).toBe(CAUSE.ECALL_USER);
  expect(pair.translator.regionsMade(), pair.label).toBeGreaterThan(0);
}

/** A loop that makes the function at `target` put s2 into a1, by the word in a2, calls it, and sums what it gave. */
const patching = (target: number, write: readonly number[]): Line[] => [
  'again',
  // imm[11:0] of addi is bits 31–20 of the word.
  encode('slli', { rd: A3, rs1: S2, imm: 20 }),
  encode('add', { rd: A3, rs1: A3, rs2: A2 }),
  ...write,
  FENCE,
  call(target),
  encode('add', { rd: A0, rs1: A0, rs2: A1 }),
  addi(S2, S2, -1),
  branch('bne', S2, 0, 'again'),
  ECALL,
];
const PASSES = 40;
const SUM = BigInt((PASSES * (PASSES + 1)) / 2);

describe('a loop that patches', () => {
  const writes = {
    'with a store': [sw(A3, S3)],
    'with two halves': [
      encode('sh', { rs1: S3, rs2: A3 }),
      encode('srli', { rd: A3, rs1: A3, imm: 16 }),
      encode('sh', { rs1: S3, rs2: A3, imm: 2 }),
    ],
    'with bytes': Array.from({ length: 4 }, (_, imm) => [
      encode('sb', { rs1: S3, rs2: A3, imm }),
      encode('srli', { rd: A3, rs1: A3, imm: 8 }),
    ]).flat(),
    'with an atomic': [encode('amoswap.w', { rs1: S3, rs2: A3 })],
    'with a conditional store': [encode('lr.w', { rs1: S3 }), encode('sc.w', { rs1: S3, rs2: A3 })],
    'with a float': [encode('fmv.w.x', { rd: 1, rs1: A3 }), encode('fsw', { rs1: S3, rs2: 1 })],
  };
  const places = { 'its own page': 0, 'another page': 1 };
  for (const [how, write] of Object.entries(writes))
    for (const [where, page] of Object.entries(places))
      for (const through of ['the same address', 'an alias'])
        it(`${how}, ${where}, through ${through}`, async () => {
          const lines = [...patching(S3 + 1, write), 'patched', addi(A1, 0, 0), ret];
          const pair = await start('patching', lines);
          const at = page === 0 ? offsetOf(lines, 'patched') : 0x800;
          if (page === 1) pair.write(FREE + 1, at, assemble([addi(A1, 0, 0), ret]));
          pair.set(S2, PASSES);
          pair.set(A2, addi(A1, 0, 0));
          pair.set(S3, ((through === 'an alias' ? ALIAS : CODE) + page) * PAGE + at);
          pair.set(S3 + 1, (CODE + page) * PAGE + at);
          runToEnd(pair);
          expect(pair.x(A0)).toBe(SUM);
        });

  it('the middle of a region, and the instruction right behind the fence', async () => {
    const lines: Line[] = [
      'again',
      addi(A0, A0, 1),
      encode('slli', { rd: A3, rs1: S2, imm: 20 }),
      encode('add', { rd: A3, rs1: A3, rs2: A2 }),
      sw(A3, S3),
      FENCE,
      'patched',
      addi(A1, 0, 0),
      encode('add', { rd: A0, rs1: A0, rs2: A1 }),
      addi(S2, S2, -1),
      branch('bne', S2, 0, 'again'),
      ECALL,
    ];
    const pair = await start('behind the fence', lines);
    pair.set(S2, PASSES);
    pair.set(A2, addi(A1, 0, 0));
    pair.set(S3, CODE * PAGE + offsetOf(lines, 'patched'));
    runToEnd(pair);
    expect(pair.x(A0)).toBe(SUM + BigInt(PASSES));
  });

  it('one half of an instruction that lies across a page end', async () => {
    for (const page of [0, 1]) {
      // The upper half of addi holds its immediate and one bit of rs1; the lower half rd and the other bits.
      const half = page === 1 ? encode('sh', { rs1: S3, rs2: A3, imm: 2 }) : encode('sh', { rs1: S3, rs2: A3 });
      const lines: Line[] = [
        'again',
        half,
        addi(A3, A3, page === 1 ? 16 : 0),
        FENCE,
        call(S3),
        addi(S2, S2, -1),
        branch('bne', S2, 0, 'again'),
        ECALL,
      ];
      const pair = await start(`half ${page}`, lines);
      pair.write(FREE, PAGE - 2, assemble([addi(A0, A0, 1), ret]));
      pair.set(S2, 20);
      pair.set(S3, CODE * PAGE + PAGE - 2);
      // addi a0, a0, 0 … 19 by its upper half; addi a1, a0, 1 by its lower one.
      pair.set(A3, page === 1 ? addi(A0, A0, 0) >>> 16 : addi(A1, A0, 1) & 0xffff);
      runToEnd(pair);
      expect([pair.x(A0), pair.x(A1)]).toEqual(page === 1 ? [190n, 0n] : [0n, 1n]);
    }
  });

  it('the region that it is in, further on, where the last store counts', async () => {
    // Eight times: two stores, of which the second one counts, and the fence.
    const lines: Line[] = ['again'];
    for (let i = 0; i < 8; i++)
      lines.push(
        sw(A2, S3, 32 * i + 28),
        addi(A1, A1, 1),
        addi(A1, A1, 1),
        sw(A3, S3, 32 * i + 28),
        addi(A0, A0, 1),
        FENCE,
        addi(0, 0, 0),
        addi(A0, A0, 0),
      );
    lines.push(addi(S2, S2, -1), branch('bne', S2, 0, 'again'), ECALL);
    const pair = await start('further on', lines);
    pair.set(S2, 5);
    pair.set(S3, CODE * PAGE);
    pair.set(A2, addi(A0, A0, 100));
    pair.set(A3, addi(A0, A0, 10));
    runToEnd(pair);
    expect(pair.x(A0)).toBe(BigInt(5 * 8 * 11));
  });
});

/** As the decode cache has it, of the page's first words. */
function hashOf(words: Int32Array, count: number): number {
  let hash = 0;
  for (const word of words.subarray(0, count)) hash = Math.imul((hash ^ word) + (hash >>> 15), 0x9e3779b1);
  return hash;
}

describe('code that somebody else writes', () => {
  it('is run as it is after the fence: a device, a merge, the same bytes again', async () => {
    const lines: Line[] = ['again', EBREAK, FENCE, call(S3), encode('add', { rd: A0, rs1: A0, rs2: A1 }), jump('again')];
    const pair = await start('a device', lines);
    pair.set(S3, (CODE + 1) * PAGE + 64);
    const write = (page: number, value: number): void => pair.write(page, 64, assemble([addi(A1, 0, value), ret]));
    write(FREE + 1, 1);
    let expected = 0n;
    const turn = (value: number, change: () => void): void => {
      expect(pair.run(), pair.label).toBe('idle');
      expect(pair.x(A0), pair.label).toBe(expected);
      change();
      expected += BigInt(value);
      pair.each(({ hart }) => (hart.state.wide[WIDE.SEPC] = (hart.state.wide[WIDE.SEPC] as number) + 4));
    };
    for (let round = 0; round < 6; round++) {
      const values = [7, round, 7, 100 + round];
      for (const value of values) turn(value, () => write(FREE + 1, value));
      // Another frame with other bytes comes into the page, and a frame that is shared with one of the same bytes; then the view is written.
      turn(9, () => {
        write(FREE + 2, 9);
        pair.each(({ pages }) => pages.share(FREE + 2, FREE + 1));
      });
      turn(11, () => write(FREE + 1, 11));
      turn(9, () => pair.map(CODE + 1, FREE + 2, RX));
      turn(12, () => write(FREE + 2, 12));
      turn(11, () => pair.map(CODE + 1, FREE + 1, RWX));
    }
    expect(pair.regions).toBeGreaterThan(0);
  });

  it('is not taken for other bytes of the same hash, one after the other or side by side', async () => {
    const lines: Line[] = ['again', EBREAK, FENCE, call(S3), jump('again')];
    const pair = await start('the same hash', lines);
    const pages = [CODE + 1, CODE + 2, CODE + 3];
    for (const [i, page] of pages.entries()) pair.map(page, FREE + 1 + i, RX);
    const words = Array.from({ length: 4 }, (_, i) =>
      Int32Array.from({ length: 1024 }, (_, at) => [addi(A0, 0, i), ret][at] ?? 0),
    );
    // The last word makes the hash what the first page's is.
    const first = words[0] as Int32Array;
    for (const other of words.slice(1)) {
      const [a, b] = [hashOf(first, 1023), hashOf(other, 1023)];
      other[1023] = (((a ^ (first[1023] as number)) + (a >>> 15) - (b >>> 15)) | 0) ^ b;
      expect(hashOf(other, 1024)).toBe(hashOf(first, 1024));
    }
    pair.run();
    for (let turn = 0; turn < 30; turn++) {
      const which = (turn % 7) % pages.length;
      pair.write(FREE + 1 + which, 0, new Uint8Array((words[turn % 4] as Int32Array).buffer));
      pair.set(S3, (pages[which] as number) * PAGE);
      pair.each(({ hart }) => (hart.state.wide[WIDE.SEPC] = CODE * PAGE + 4));
      pair.run();
      expect(pair.x(A0)).toBe(BigInt(turn % 4));
    }
  });

  it('cleared as a page, it is illegal; written again, it runs', async () => {
    const cboZero = encode('cbo.zero', { rs1: A3 });
    const lines: Line[] = ['again', EBREAK, cboZero, FENCE, call(S3), jump('again')];
    const pair = await start('cleared', lines);
    pair.each(({ hart }) => (hart.state.environment = 0x80));
    pair.set(S3, (CODE + 1) * PAGE + 64);
    pair.set(A3, (ALIAS + 1) * PAGE + 3000);
    for (let round = 0; round < 4; round++) {
      pair.run();
      expect(pair.wide(WIDE.SCAUSE)).toBe(CAUSE.BREAKPOINT);
      pair.each(({ hart }) => (hart.state.wide[WIDE.SEPC] = CODE * PAGE + 4));
      pair.run();
      expect([pair.wide(WIDE.SCAUSE), pair.wide(WIDE.SEPC)]).toEqual([CAUSE.ILLEGAL, (CODE + 1) * PAGE + 64]);
      pair.write(FREE + 1, 64, assemble([addi(A0, A0, round), ret]));
    }
    pair.run();
    expect(pair.x(A0)).toBe(6n);
  });
});

describe('random patching', () => {
  /** Functions of one instruction, anywhere in two pages, also across the end of the first. */
  const FUNCTIONS = 12;
  const STEPS = 60;

  it('of functions in two pages, through both addresses, by the guest and by devices', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = new Random(seed);
      const ours = (page: number): number => CODE + 2 + page;
      const pair = await start(`seed ${seed}`, ['again', EBREAK, sw(A2, A3), FENCE, call(S3), jump('again')]);
      for (const page of [0, 1]) {
        pair.map(ours(page), FREE + 2 + page, RWX);
        pair.map(ALIAS + 2 + page, FREE + 2 + page, RW);
      }
      const places = Array.from(
        { length: FUNCTIONS },
        (_, i) => 16 * Math.floor((i * 8192) / FUNCTIONS / 16) + 32 + 2 * random.below(4),
      );
      places.push(PAGE - 2, PAGE - 4, PAGE - 8);
      const values = places.map((at) => {
        const value = random.below(2000);
        pair.write(FREE + 2, at, assemble([addi(A0, A0, value), ret]));
        return value;
      });
      // Those at the page end lie over each other: only one of them is used.
      const used = FUNCTIONS + random.below(3);
      pair.write(FREE + 2, places[used] as number, assemble([addi(A0, A0, values[used] as number), ret]));
      const usable = [...Array(FUNCTIONS).keys(), used];
      let expected = 0n;
      for (let step = 0; step < STEPS; step++) {
        expect(pair.run(), pair.label).toBe('idle');
        expect([pair.wide(WIDE.SCAUSE), pair.x(A0)], pair.label).toEqual([CAUSE.BREAKPOINT, expected]);
        const patched = random.pick(usable);
        const called = random.oneIn(2) ? patched : random.pick(usable);
        const value = random.oneIn(3) ? (values[patched] as number) : random.below(2000);
        values[patched] = value;
        const at = places[patched] as number;
        const byGuest = !random.oneIn(4);
        if (!byGuest) pair.write(FREE + 2, at, assemble([addi(A0, A0, value)]));
        pair.set(A2, byGuest ? addi(A0, A0, value) : 0);
        pair.set(A3, byGuest ? (random.oneIn(2) ? ALIAS + 2 : ours(0)) * PAGE + at : ALIAS * PAGE + 2048);
        pair.set(S3, ours(0) * PAGE + (places[called] as number));
        expected += BigInt(values[called] as number);
        pair.each(({ hart }) => (hart.state.wide[WIDE.SEPC] = (hart.state.wide[WIDE.SEPC] as number) + 4));
      }
      expect(pair.regions).toBeGreaterThan(0);
    }
  });
});
