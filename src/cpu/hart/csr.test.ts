import { describe, expect, it } from 'vitest';
import { THREAD_BLOCKS } from '../../layout/arena.ts';
import { CsrFile } from './csr.ts';
import { CSR } from './csr-numbers.ts';
import { makeArena } from './machine-for-tests.ts';
import { Registers } from './registers.ts';
import { HartState } from './state.ts';

function make() {
  const registers = new Registers(makeArena(), THREAD_BLOCKS);
  const state = new HartState();
  registers.loadAll(state.registers);
  const clock = { ticks: 1000, now: () => clock.ticks };
  const csrs = new CsrFile(state, registers, clock);
  const read = (csr: number): bigint | null =>
    csrs.read(csr) ? BigInt.asUintN(64, (BigInt(csrs.valueHigh) << 32n) | BigInt(csrs.valueLow >>> 0)) : null;
  const write = (csr: number, value: bigint): bigint | null => {
    csrs.write(csr, Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)));
    return read(csr);
  };
  return { registers, state, clock, csrs, read, write };
}
const ONES = (1n << 64n) - 1n;
const SV39 = 8n << 60n;

describe('CSRs are WARL', () => {
  it('sstatus: SIE SPIE SPP FS SUM MXR are writable, UXL is 64 bits, SD follows FS', () => {
    const { read, write } = make();
    expect(read(CSR.SSTATUS)).toBe(2n << 32n);
    expect(write(CSR.SSTATUS, ONES)).toBe((1n << 63n) | (2n << 32n) | 0xc_6122n);
    expect(write(CSR.SSTATUS, 2n << 13n)).toBe((2n << 32n) | (2n << 13n));
    expect(write(CSR.SSTATUS, 0n)).toBe(2n << 32n);
  });

  it('sie has the three interrupts of S-mode; of sip only SSIP is writable', () => {
    const { read, write, state } = make();
    expect(write(CSR.SIE, ONES)).toBe(0x222n);
    expect(write(CSR.SIP, ONES)).toBe(2n);
    state.externalPending = true;
    expect(write(CSR.SIP, 0n)).toBe(0x200n);
    expect(read(CSR.SIP)).toBe(0x200n);
  });

  it('STIP is set from the tick in stimecmp on, compared without sign', () => {
    const { read, write, clock } = make();
    expect(read(CSR.STIMECMP)).toBe(ONES);
    expect(read(CSR.SIP)).toBe(0n);
    write(CSR.STIMECMP, 1001n);
    expect(read(CSR.SIP)).toBe(0n);
    clock.ticks = 1001;
    expect(read(CSR.SIP)).toBe(0x20n);
    write(CSR.STIMECMP, 1n << 63n);
    expect(read(CSR.SIP)).toBe(0n);
  });

  it('stvec takes direct and vectored; a reserved mode changes nothing', () => {
    const { write } = make();
    expect(write(CSR.STVEC, 0xffff_ffff_8000_1000n)).toBe(0xffff_ffff_8000_1000n);
    expect(write(CSR.STVEC, 0x8000_1001n)).toBe(0x8000_1001n);
    expect(write(CSR.STVEC, 0x4002n)).toBe(0x8000_1001n);
    expect(write(CSR.STVEC, 0x4003n)).toBe(0x8000_1001n);
  });

  it('sepc has bit 0 clear; sscratch, scause and stval hold 64 bits', () => {
    const { write } = make();
    expect(write(CSR.SEPC, ONES)).toBe(ONES - 1n);
    for (const csr of [CSR.SSCRATCH, CSR.SCAUSE, CSR.STVAL, CSR.STIMECMP]) {
      expect(write(csr, 0x8123_4567_89ab_cdefn)).toBe(0x8123_4567_89ab_cdefn);
    }
  });

  it('satp takes Bare and Sv39 with 16 bits of ASID; another mode changes nothing, not even PPN or ASID', () => {
    const { write } = make();
    expect(write(CSR.SATP, SV39 | (0xffffn << 44n) | 0xfff_ffff_ffffn)).toBe(SV39 | (0xffffn << 44n) | 0xfff_ffff_ffffn);
    for (let mode = 1n; mode < 16n; mode++) {
      if (mode !== 8n) expect(write(CSR.SATP, (mode << 60n) | 1n)).toBe(SV39 | (0xffffn << 44n) | 0xfff_ffff_ffffn);
    }
    expect(write(CSR.SATP, 5n)).toBe(0n);
  });

  it('scounteren has the three counters, senvcfg FIOM and CBZE', () => {
    const { write } = make();
    expect(write(CSR.SCOUNTEREN, ONES)).toBe(7n);
    expect(write(CSR.SENVCFG, ONES)).toBe(0x81n);
  });

  it('fcsr is frm and fflags together, and writing any of them makes FS dirty', () => {
    const { read, write } = make();
    write(CSR.SSTATUS, 1n << 13n);
    expect(write(CSR.FCSR, ONES)).toBe(0xffn);
    expect(read(CSR.SSTATUS)).toBe((1n << 63n) | (2n << 32n) | (3n << 13n));
    expect(read(CSR.FFLAGS)).toBe(0x1fn);
    expect(read(CSR.FRM)).toBe(7n);
    write(CSR.FRM, 2n);
    expect(write(CSR.FFLAGS, 0x30n)).toBe(0x10n);
    expect(read(CSR.FCSR)).toBe(0x50n);
  });
});

describe('what a mode may not use is illegal', () => {
  it('floating-point CSRs when FS is off', () => {
    const { read, write } = make();
    for (const csr of [CSR.FFLAGS, CSR.FRM, CSR.FCSR]) expect(read(csr)).toBe(null);
    write(CSR.SSTATUS, 1n << 13n);
    for (const csr of [CSR.FFLAGS, CSR.FRM, CSR.FCSR]) expect(read(csr)).toBe(0n);
  });

  it('every CSR number that is not implemented, in S-mode', () => {
    const { read, write } = make();
    write(CSR.SSTATUS, 1n << 13n);
    const known = new Set<number>(Object.values(CSR));
    for (let csr = 0; csr < 4096; csr++) expect(read(csr) !== null, `CSR ${csr.toString(16)}`).toBe(known.has(csr));
  });

  it('the supervisor’s CSRs in U-mode, and counters that scounteren does not open', () => {
    const { read, write, state } = make();
    write(CSR.SSTATUS, 1n << 13n);
    write(CSR.SCOUNTEREN, 2n);
    state.user = true;
    const open = new Set<number>([CSR.FFLAGS, CSR.FRM, CSR.FCSR, CSR.TIME]);
    for (let csr = 0; csr < 4096; csr++) expect(read(csr) !== null, `CSR ${csr.toString(16)}`).toBe(open.has(csr));
  });

  it('a write of a counter', () => {
    const { csrs } = make();
    for (const csr of [CSR.CYCLE, CSR.TIME, CSR.INSTRET]) {
      expect(csrs.read(csr)).toBe(true);
      expect(csrs.write(csr, 0, 0)).toBe(false);
    }
  });
});

describe('counters', () => {
  it('time is the guest clock, in 64 bits', () => {
    const { read, clock } = make();
    clock.ticks = 0x12_3456_789a;
    expect(read(CSR.TIME)).toBe(0x12_3456_789an);
  });

  it('instret and cycle count what the running slice has done', () => {
    const { read, csrs, registers, state } = make();
    state.retired = 5_000_000_000;
    csrs.sliceBudget = 1000;
    registers.budget = 900;
    expect(read(CSR.INSTRET)).toBe(5_000_000_100n);
    registers.budget = -3;
    expect(read(CSR.CYCLE)).toBe(5_000_001_003n);
  });
});
