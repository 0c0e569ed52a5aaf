/** Regions on flat memory, beside the interpreter: what they do, where they are entered, and when they are not any more. */
import { beforeEach, describe, expect, it } from 'vitest';
import { FlatMachine } from '../../../test/oracle/flat-machine.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import type { RegionRequest } from './service.ts';
import type { TranslationStatistics } from './statistics.ts';
import { Translations, type TranslationsOptions } from './translations.ts';

const BASE = 0x10000;
const SIZE = 0x40000;
const PAGE = 4096;
const END = BASE + SIZE;
const [A0, A1, A2, A3] = [10, 11, 12, 13];
const ECALL = encode('ecall');
const addi = (rd: number, rs1: number, imm: number): number => encode('addi', { rd, rs1, imm });

let machine: FlatMachine;
let plain: FlatMachine;
const open = async (translate: 'all' | 'asked', translatedBytesMax?: number): Promise<void> => {
  machine = await FlatMachine.create({ base: BASE, bytes: SIZE, translate, ...(translatedBytesMax && { translatedBytesMax }) });
};
beforeEach(async () => {
  await open('all');
  plain = await FlatMachine.create({ base: BASE, bytes: SIZE, translate: false });
});
const statistics = (): TranslationStatistics => (machine.translations as Translations).statistics;

function run(on: FlatMachine, pc: number, budget?: number): string {
  on.pc = BigInt(pc);
  return on.run(budget);
}
/** What the guest could see. */
const state = ({ pc, retired, trap, x, f, bytes }: FlatMachine) => ({
  pc,
  retired,
  trap,
  x: [...x],
  f: [...f],
  memory: Buffer.from(bytes).toString('latin1'),
});

/** Sums 1 … a1 into a0. */
const SUM = [encode('add', { rd: A0, rs1: A0, rs2: A1 }), addi(A1, A1, -1), encode('bne', { rs1: A1, rs2: 0, imm: -8 }), ECALL];

describe('a region', () => {
  it('does what the interpreter does, and counts as it does', () => {
    machine.writeCode(BASE, SUM);
    machine.x[A1] = 1000n;
    expect(run(machine, BASE)).toBe('ECALL');
    expect([machine.x[A0], machine.pc, machine.retired]).toEqual([500500n, BigInt(BASE + 12), 3000]);
    expect(statistics().get('regions')).toBeGreaterThan(0);
  });

  it('comes back when the budget is used up, at an edge back, and goes on from there', () => {
    machine.writeCode(BASE, SUM);
    machine.x[A1] = 1000n;
    let retired = 0;
    for (let exit = run(machine, BASE, 50); exit !== 'ECALL'; exit = machine.run(50)) {
      expect(exit).toBe('BUDGET');
      expect(machine.retired).toBeLessThan(60);
      retired += machine.retired;
    }
    expect([machine.x[A0], retired + machine.retired]).toEqual([500500n, 3000]);
  });

  it('traps exactly, in every position', () => {
    // Each instruction changes something before the one that faults; a2 leads out of memory.
    const faulting = [
      encode('ld', { rd: A3, rs1: A2 }),
      encode('sd', { rs1: A2, rs2: A0 }),
      encode('amoadd.d', { rd: A3, rs1: A2, rs2: A0 }),
      encode('lr.w', { rd: A3, rs1: A2 }),
      encode('fld', { rd: 3, rs1: A2 }),
    ];
    for (const fault of faulting) {
      for (let position = 0; position < 12; position++) {
        const code = Array.from({ length: 12 }, (_, i) =>
          i % 3 === 2 ? encode('sw', { rs1: A1, rs2: A0, imm: 4 * i }) : addi(A0, A0, i + 1),
        );
        code.splice(position, 0, fault);
        for (const each of [machine, plain]) {
          each.writeCode(BASE, [...code, ECALL]);
          each.bytes.fill(0, 0x20000 - BASE, 0x20100 - BASE);
          each.x.fill(0n);
          each.x[A1] = 0x20000n;
          each.x[A2] = BigInt(END);
          expect(run(each, BASE)).toBe('TRAP');
        }
        expect(state(machine)).toEqual(state(plain));
        expect(machine.retired).toBe(position);
      }
    }
  });

  it('leads on to the next one through a jump to an address, a call and a return, in another page', () => {
    const CALLED = BASE + 2 * PAGE + 40;
    for (const each of [machine, plain]) {
      // Ten times: call, count; the callee adds.
      each.writeCode(BASE + 100, [
        encode('jalr', { rd: 1, rs1: A2, imm: 0 }),
        addi(A1, A1, -1),
        encode('bne', { rs1: A1, rs2: 0, imm: -8 }),
        ECALL,
      ]);
      each.writeCode(CALLED, [addi(A0, A0, 3), encode('jalr', { rd: 0, rs1: 1, imm: 0 })]);
      each.x[A1] = 10n;
      each.x[A2] = BigInt(CALLED);
      expect(run(each, BASE + 100)).toBe('ECALL');
    }
    expect(machine.x[A0]).toBe(30n);
    expect(state(machine)).toEqual(state(plain));
  });
});

describe('where a region is entered', () => {
  it('the instruction before, fused with its first one, is told', async () => {
    await open('asked');
    // auipc and jalr are one operation; the region begins at jalr.
    machine.writeCode(BASE, [
      encode('auipc', { rd: 5, imm: 0 }),
      encode('jalr', { rd: 1, rs1: 5, imm: 16 }),
      ECALL,
      ECALL,
      addi(A0, A0, 1),
      ECALL,
    ]);
    const go = (): void => {
      machine.x[A0] = 0n;
      expect(run(machine, BASE)).toBe('ECALL');
      expect([machine.x[A0], machine.x[1], machine.x[0], machine.retired]).toEqual([1n, BigInt(BASE + 8), 0n, 3]);
    };
    go();
    machine.translateAt(BASE + 4);
    expect(statistics().get('regions')).toBe(1);
    go();
    machine.translateAt(BASE);
    go();
  });

  it('is forgotten with the bytes that it was made from, and known again with them', () => {
    machine.writeCode(BASE, SUM);
    machine.x[A1] = 4n;
    run(machine, BASE);
    const regions = statistics().get('regions');
    // Other code in its place.
    machine.writeCode(BASE, [addi(A0, 0, 77), ECALL]);
    run(machine, BASE);
    expect(machine.x[A0]).toBe(77n);
    machine.writeCode(BASE, [...SUM, 0, 0].slice(0, 4));
    machine.x[A0] = 0n;
    machine.x[A1] = 4n;
    run(machine, BASE);
    expect(machine.x[A0]).toBe(10n);
    expect(statistics().get('putBack')).toBeGreaterThan(0);
    expect(statistics().get('regions')).toBeGreaterThanOrEqual(regions);
  });

  it('code that writes code, and fences, runs what it wrote', () => {
    for (const each of [machine, plain]) {
      // Stores the instruction in a2 over the one at BASE + 16, in a region that is entered twice.
      each.writeCode(BASE, [
        encode('sw', { rs1: A1, rs2: A2, imm: 16 }),
        addi(A3, A3, 1),
        encode('fence.i'),
        addi(A3, A3, 1),
        addi(A0, 0, 1),
        ECALL,
      ]);
      each.x[A1] = BigInt(BASE);
      for (const value of [5, 9]) {
        each.x[A2] = BigInt(addi(A0, 0, value));
        expect(run(each, BASE)).toBe('ECALL');
        expect(each.x[A0]).toBe(BigInt(value));
      }
    }
    expect(state(machine)).toEqual(state(plain));
  });
});

describe('more regions than there may be', () => {
  it('the oldest go, and come back when their code runs', async () => {
    await open('all', 3000);
    for (let i = 0; i < 30; i++) machine.writeCode(BASE + i * PAGE, [addi(A0, A0, i), ECALL]);
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 30; i++) {
        machine.x[A0] = 100n;
        run(machine, BASE + i * PAGE);
        expect(machine.x[A0]).toBe(BigInt(100 + i));
        expect(statistics().get('bytes')).toBeLessThanOrEqual(3000);
      }
    }
    expect(statistics().get('evicted')).toBeGreaterThan(0);
  });
});

describe('what is asked for ahead', () => {
  it('is a place half as hot as one for which a region is asked, once', () => {
    const requests: RegionRequest[] = [];
    const memory = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: 0 });
    const service = { request: (request: RegionRequest) => void requests.push(request), hasAnswer: false, take: () => undefined };
    const nothing = (): number => 0;
    const imports = {
      load: nothing,
      store: nothing,
      secure: nothing,
      fetch: nothing,
      decode: nothing,
      csr: nothing,
      sfence: nothing,
      cboZero: nothing,
    };
    const options = { memory, table, imports, interpreter: { functions: {} }, service };
    const translations = new Translations({ ...options, threshold: 6, bytesMax: PAGE } as unknown as TranslationsOptions);
    translations.vm = 3;
    for (let samples = 0; samples < 10; samples++) translations.sample(PAGE, 8, 1, 0, 77);
    expect(requests.map(({ entry, hash, vm, ahead }) => ({ entry, hash, vm, ahead }))).toEqual([
      { entry: 8, hash: 77, vm: 3, ahead: true },
      { entry: 8, hash: 77, vm: 3, ahead: false },
    ]);
    expect([translations.statistics.get('askedAhead'), translations.statistics.get('asked')]).toEqual([1, 1]);
  });
});

describe('what is counted', () => {
  it('guest code and WebAssembly of the regions that can be entered', async () => {
    await open('asked');
    machine.writeCode(BASE, SUM);
    machine.x[A1] = 4n;
    run(machine, BASE);
    machine.translateAt(BASE);
    expect(statistics().get('codeBytes')).toBe(16);
    expect(statistics().get('bytes')).toBeGreaterThan(16);
    expect([statistics().get('asked'), statistics().get('answered'), statistics().get('modules')]).toEqual([1, 1, 1]);
  });

  it('a machine that comes to a page has what was made for another one, and is counted once', async () => {
    await open('asked');
    const translations = machine.translations as Translations;
    machine.writeCode(BASE, SUM);
    machine.writeCode(BASE + PAGE, SUM);
    translations.vm = 1;
    machine.translateAt(BASE);
    expect(statistics().get('inherited')).toBe(0);
    translations.vm = 2;
    machine.translateAt(BASE + PAGE);
    machine.translateAt(BASE + PAGE);
    expect([statistics().get('inherited'), statistics().get('asked'), statistics().get('known')]).toEqual([1, 1, 0]);
  });

  it('a time in which something was done', async () => {
    await open('asked');
    const translations = machine.translations as Translations;
    translations.workEnds();
    expect(statistics().get('intervals')).toBe(0);
    machine.writeCode(BASE, SUM);
    machine.translateAt(BASE);
    translations.workEnds();
    translations.workEnds();
    expect(statistics().get('intervals')).toBe(1);
    expect(statistics().get('longestMs')).toBeGreaterThan(0);
  });
});
