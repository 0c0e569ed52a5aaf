/** Small programs in S- and U-mode on a whole hart: traps, interrupts, fences, and what ends a run. */
import { describe, expect, it } from 'vitest';
import { RAM_BASE } from '../../layout/machine.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import { asm } from './assembly-for-tests.ts';
import { CAUSE } from './cause.ts';
import { total } from './counters.ts';
import { CSR } from './csr-numbers.ts';
import { makeMachine, type TestMachine } from './machine-for-tests.ts';
import { WIDE } from './state.ts';

const [A0, A1, A2] = [10, 11, 12];
const [T0, T1] = [5, 6];
const HANDLER = RAM_BASE + 0x1000;
const DATA = RAM_BASE + 0x4000;
const MMIO = 0x1000_0000;

/** A machine entered in S-mode at RAM_BASE with `code` there, then a jump to itself, and a handler that jumps to itself. */
async function start(code: readonly number[]): Promise<TestMachine> {
  const machine = await makeMachine();
  machine.pages.put(RAM_BASE, ...code, asm.spin);
  machine.pages.put(HANDLER, asm.spin);
  machine.hart.state.reset(RAM_BASE, 0);
  machine.hart.state.wide[WIDE.STVEC] = HANDLER | 0;
  machine.hart.enter();
  return machine;
}
/** rd = an unsigned 32-bit constant. */
const li = (rd: number, value: number): number[] => {
  const upper = (value + 0x800) >>> 12;
  return [asm.lui(rd, upper & 0xf_ffff), asm.addi(rd, rd, value & 0xfff), asm.slli(rd, rd, 32), asm.srli(rd, rd, 32)];
};
const x = (machine: TestMachine, register: number): bigint =>
  (BigInt(machine.thread.registers.high(register)) << 32n) | BigInt(machine.thread.registers.low(register) >>> 0);
const pc = (machine: TestMachine): number => machine.thread.registers.pcLow >>> 0;
const wide = (machine: TestMachine, index: number): bigint =>
  BigInt.asUintN(64, (BigInt(machine.hart.state.wide[index + 1]) << 32n) | BigInt(machine.hart.state.wide[index] >>> 0));
/** cause, stval and the distance of sepc from RAM_BASE. */
const trapOf = (m: TestMachine): { cause: bigint; value: bigint; at: number } => ({
  cause: wide(m, WIDE.SCAUSE),
  value: wide(m, WIDE.STVAL),
  at: Number(wide(m, WIDE.SEPC)) - RAM_BASE,
});
const INTERRUPT_BIT = 1n << 63n;

describe('running', () => {
  it('goes on until the budget is used up', async () => {
    const m = await start([asm.addi(A0, 0, 42)]);
    expect(m.hart.run(1000)).toBe('budget');
    expect(x(m, A0)).toBe(42n);
    expect(m.hart.counters.instructions).toBeGreaterThanOrEqual(1000);
    expect(m.hart.counters.instructions).toBeLessThan(1010);
  });

  it('loads and stores misaligned and across a page end', async () => {
    const m = await start([
      ...li(T0, DATA),
      asm.addi(T1, 0, -2),
      asm.sd(T1, T0, 0),
      asm.lw(A0, T0, 0),
      asm.sd(T1, T0, -3),
      asm.ld(A1, T0, -3),
      asm.lwu(A2, T0, 0),
      asm.lh(13, T0, -1),
      asm.lb(14, T0, 4),
    ]);
    m.hart.run(100);
    expect([A0, A1, A2, 13, 14].map((register) => x(m, register))).toEqual([-2n, -2n, 0xffff_ffffn, -1n, -1n]);
    expect(m.pages.get(DATA - 4) >>> 0).toBe(0xffff_fe00);
  });

  it('runs an instruction that crosses a page end', async () => {
    const m = await start([...li(T0, RAM_BASE + 0x2ffe), asm.jalr(0, T0, 0)]);
    const word = asm.addi(A0, 0, 77);
    m.pages.put(RAM_BASE + 0x2ffc, (word & 0xffff) << 16);
    m.pages.put(RAM_BASE + 0x3000, (word >>> 16) | 0xa001_0000); // then c.j .
    m.hart.run(100);
    expect(x(m, A0)).toBe(77n);
    expect(m.hart.counters.straddles).toBe(1);
  });

  it('asks what crosses a page end only once, until the next page begins otherwise', async () => {
    const end = RAM_BASE + 0x3000;
    const m = await start([...li(T0, end - 2), ...li(T1, 50), asm.jalr(0, T0, 0)]);
    const putAll = (word: number): void => {
      const loop = [asm.addi(T1, T1, -1), encode('bne', { rs1: T1, rs2: 0, imm: -8 })];
      const halves = [word, ...loop].flatMap((w) => [w & 0xffff, (w >>> 16) & 0xffff]);
      m.pages.put(end - 4, (halves[0] as number) << 16);
      const rest = [...halves.slice(1), 0xa001]; // then c.j .
      for (let i = 0; i < rest.length; i += 2) m.pages.put(end + 2 * i, (rest[i] as number) | ((rest[i + 1] ?? 0) << 16));
    };
    putAll(asm.addi(A0, A0, 77));
    m.hart.run(1000);
    expect([x(m, A0), x(m, T1)]).toEqual([50n * 77n, 0n]);
    expect(m.hart.counters.straddles).toBe(1);
    // Another immediate: its high half is in the next page.
    putAll(asm.addi(A0, A0, 33));
    m.thread.registers.set(T1, 10, 0);
    m.thread.registers.setPc((end - 2) | 0, 0);
    m.hart.run(1000);
    expect(x(m, A0)).toBe(50n * 77n + 330n);
    expect(m.hart.counters.straddles).toBe(2);
  });

  it('sees code that it wrote, after fence.i', async () => {
    const target = RAM_BASE + 0x80;
    const m = await start([
      ...li(T0, target),
      ...li(T1, asm.addi(A0, A0, 16) >>> 0),
      asm.jalr(1, T0, 0),
      asm.sw(T1, T0, 0),
      asm.fenceI,
      asm.jalr(1, T0, 0),
    ]);
    m.pages.put(target, asm.addi(A0, A0, 1), asm.jalr(0, 1, 0));
    m.hart.run(100);
    expect(x(m, A0)).toBe(17n);
  });

  it('has state that is saved and restored', async () => {
    const m = await start([asm.addi(A0, 0, 7), asm.csrrwi(0, CSR.SSCRATCH, 9)]);
    m.hart.run(50);
    m.hart.leave();
    const saved = structuredClone(m.hart.state.save());
    m.hart.state.reset(0, 0);
    m.hart.state.restore(saved);
    m.hart.enter();
    m.hart.run(50);
    expect(x(m, A0)).toBe(7n);
    expect(wide(m, WIDE.SSCRATCH)).toBe(9n);
    expect(() => m.hart.state.restore({ ...saved, version: 99 })).toThrow(/version 99/);
  });
});

describe('exceptions', () => {
  const cases: readonly [string, readonly number[], number, bigint, number][] = [
    ['an illegal instruction, with its bits', [0xffff_ffff | 0], CAUSE.ILLEGAL, 0xffff_ffffn, 0],
    ['an illegal compressed instruction, with 16 bits', [0x8000_0000 | 0], CAUSE.ILLEGAL, 0n, 0],
    ['ebreak, with its address', [asm.ebreak], CAUSE.BREAKPOINT, BigInt(RAM_BASE), 0],
    ['a load from nowhere', [asm.ld(A0, 0, 16)], CAUSE.LOAD_ACCESS, 16n, 0],
    ['a store to nowhere', [asm.sd(A0, 0, 16)], CAUSE.STORE_ACCESS, 16n, 0],
    ['a jump to nowhere', [asm.jalr(0, 0, 32)], CAUSE.FETCH_ACCESS, 32n, 32 - RAM_BASE],
    ['a misaligned lr', [asm.addi(T0, 0, 4), asm.lrD(A0, T0)], CAUSE.LOAD_MISALIGNED, 4n, 4],
    ['a misaligned sc', [asm.addi(T0, 0, 4), asm.scD(A0, A1, T0)], CAUSE.STORE_MISALIGNED, 4n, 4],
    ['a misaligned amo', [asm.addi(T0, 0, 4), asm.amoaddD(A0, A1, T0)], CAUSE.STORE_MISALIGNED, 4n, 4],
    ['an amo on a device', [asm.lui(T0, MMIO >>> 12), asm.amoaddD(A0, A1, T0)], CAUSE.STORE_ACCESS, BigInt(MMIO), 4],
    ['a misaligned load from a device', [asm.lui(T0, MMIO >>> 12), asm.lw(A0, T0, 2)], CAUSE.LOAD_ACCESS, BigInt(MMIO + 2), 4],
    ['a CSR that does not exist', [asm.csrrw(A0, 0x300, 0)], CAUSE.ILLEGAL, BigInt(asm.csrrw(A0, 0x300, 0)), 0],
    ['a write of time', [asm.csrrw(A0, CSR.TIME, 0)], CAUSE.ILLEGAL, BigInt(asm.csrrw(A0, CSR.TIME, 0) >>> 0), 0],
    ['floating point when FS is off', [asm.fmvDX(0, 0)], CAUSE.ILLEGAL, BigInt(asm.fmvDX(0, 0) >>> 0), 0],
  ];
  for (const [name, code, cause, value, at] of cases) {
    it(`${name}: cause ${cause}`, async () => {
      const m = await start(code);
      m.hart.run(50);
      expect(trapOf(m)).toEqual({ cause: BigInt(cause), value, at });
      expect(pc(m)).toBe(HANDLER);
    });
  }

  it('csrrs with x0 reads a counter without being a write', async () => {
    const m = await start([asm.csrrs(A0, CSR.TIME, 0), asm.csrrsi(A1, CSR.TIME, 0)]);
    m.clock.ticks = 1234;
    m.hart.run(50);
    expect([x(m, A0), x(m, A1)]).toEqual([1234n, 1234n]);
  });

  it('save SIE and the mode, and sret brings them back', async () => {
    const m = await start([asm.csrrsi(0, CSR.SSTATUS, 2), asm.ebreak, asm.addi(A0, 0, 5)]);
    m.pages.put(HANDLER, asm.csrrs(A1, CSR.SSTATUS, 0), ...li(T0, RAM_BASE + 8), asm.csrrw(0, CSR.SEPC, T0), asm.sret);
    m.hart.run(100);
    expect(x(m, A1) & 0x122n).toBe(0x120n);
    expect(x(m, A0)).toBe(5n);
    expect(m.hart.state.status).toBe(0x22);
    expect(m.hart.state.user).toBe(false);
  });

  it('from U-mode: ecall, and what only the supervisor may', async () => {
    const forbidden = [asm.sret, asm.wfi, asm.sfenceVma(0, 0), asm.csrrs(A0, CSR.SSTATUS, 0), asm.cboZero(T0)];
    for (const [instruction, cause] of [[asm.ecall, CAUSE.ECALL_USER], ...forbidden.map((word) => [word, CAUSE.ILLEGAL])]) {
      const m = await start([...li(T0, RAM_BASE + 0x2000), asm.csrrw(0, CSR.SEPC, T0), asm.sret]);
      m.pages.put(RAM_BASE + 0x2000, asm.addi(0, 0, 0), instruction);
      m.hart.run(50);
      expect(trapOf(m)).toEqual({
        cause: BigInt(cause),
        value: cause === CAUSE.ILLEGAL ? BigInt(instruction >>> 0) : 0n,
        at: 0x2004,
      });
      expect(m.hart.state.status & 0x100).toBe(0);
    }
  });

  it('a store across a page end into nowhere changes nothing, and tells the address of its second half', async () => {
    const last = RAM_BASE + 4 * 1024 * 1024 - 4;
    const m = await start([...li(T0, last), asm.addi(A0, 0, -1), asm.sd(A0, T0, 0)]);
    m.hart.run(50);
    expect(trapOf(m)).toEqual({ cause: BigInt(CAUSE.STORE_ACCESS), value: BigInt(last + 4), at: 20 });
    expect(m.pages.get(last)).toBe(0);
  });

  it('an instruction whose second half cannot be fetched: its own address and that of the half', async () => {
    const end = RAM_BASE + 4 * 1024 * 1024;
    const m = await start([...li(T0, end - 2), asm.jalr(0, T0, 0)]);
    m.pages.put(end - 4, 0x0013_0000);
    m.hart.run(50);
    expect(trapOf(m)).toEqual({ cause: BigInt(CAUSE.FETCH_ACCESS), value: BigInt(end), at: end - 2 - RAM_BASE });
  });

  it('a handler that cannot run is reported', async () => {
    const m = await start([asm.csrrwi(0, CSR.STVEC, 0), asm.ebreak]);
    expect(m.hart.run(1000)).toBe('stuck');
    expect(m.hart.stuckReport).toMatch(/trap handler at 0x0 .*cause 1/);
  });
});

describe('interrupts', () => {
  const enable = (...more: number[]): number[] => [...li(T0, 0x222), asm.csrrw(0, CSR.SIE, T0), ...more];

  it('external before software before timer, and only when enabled', async () => {
    const m = await start(enable(asm.csrrsi(0, CSR.SIP, 2), asm.csrrsi(0, CSR.SSTATUS, 2)));
    m.hart.state.wide[WIDE.STIMECMP] = 0;
    m.hart.state.wide[WIDE.STIMECMP + 1] = 0;
    m.hart.leave();
    m.hart.enter();
    m.hart.setExternalInterrupt(true);
    m.hart.run(50);
    expect(trapOf(m)).toEqual({ cause: INTERRUPT_BIT | 9n, value: 0n, at: 28 });
    m.hart.setExternalInterrupt(false);
    m.hart.state.status |= 2;
    m.hart.run(50);
    expect(wide(m, WIDE.SCAUSE)).toBe(INTERRUPT_BIT | 1n);
    m.hart.state.softwarePending = false;
    m.hart.state.status |= 2;
    m.hart.run(50);
    expect(wide(m, WIDE.SCAUSE)).toBe(INTERRUPT_BIT | 5n);
  });

  it('go to base + 4 × cause when stvec is vectored; exceptions do not', async () => {
    const m = await start(enable(...li(T0, HANDLER + 1), asm.csrrw(0, CSR.STVEC, T0), asm.csrrsi(0, CSR.SSTATUS, 2)));
    m.pages.put(HANDLER + 36, asm.addi(A0, 0, 1), asm.ebreak);
    m.hart.setExternalInterrupt(true);
    m.hart.run(50);
    expect(x(m, A0)).toBe(1n);
    expect(trapOf(m).at).toBe(0x1000 + 40);
    expect(pc(m)).toBe(HANDLER);
  });

  it('always interrupt U-mode', async () => {
    const m = await start(enable(...li(T0, RAM_BASE + 0x2000), asm.csrrw(0, CSR.SEPC, T0), asm.sret));
    m.pages.put(RAM_BASE + 0x2000, asm.spin);
    m.hart.run(50);
    expect(m.hart.state.user).toBe(true);
    m.hart.setExternalInterrupt(true);
    m.hart.run(50);
    expect(trapOf(m)).toEqual({ cause: INTERRUPT_BIT | 9n, value: 0n, at: 0x2000 });
  });

  it('come right after the store to a device that raised them', async () => {
    const m = await start([
      ...enable(asm.csrrsi(0, CSR.SSTATUS, 2), asm.lui(T0, MMIO >>> 12)),
      asm.sw(0, T0, 0),
      asm.addi(A0, 0, 1),
    ]);
    m.bus.onWrite = () => m.hart.setExternalInterrupt(true);
    m.hart.run(10_000);
    expect(trapOf(m)).toEqual({ cause: INTERRUPT_BIT | 9n, value: 0n, at: 32 });
    expect(x(m, A0)).toBe(0n);
    expect(m.bus.log).toEqual(['write 10000000 4 0']);
  });

  it('wfi waits for what sie enables, whatever SIE says, and goes on after it', async () => {
    const m = await start([...enable(), asm.wfi, asm.addi(A0, 0, 3)]);
    m.hart.state.wide[WIDE.STIMECMP] = 500;
    m.hart.state.wide[WIDE.STIMECMP + 1] = 0;
    m.hart.leave();
    m.hart.enter();
    expect(m.hart.run(1000)).toBe('idle');
    expect(m.hart.nextTimer()).toBe(500);
    expect(m.hart.isInterruptPending()).toBe(false);
    m.clock.ticks = 500;
    expect(m.hart.nextTimer()).toBe(0);
    expect(m.hart.isInterruptPending()).toBe(true);
    expect(m.hart.run(1000)).toBe('budget');
    expect(x(m, A0)).toBe(3n);
    expect(total(m.hart.counters.interruptsByCause)).toBe(0);
  });

  it('the timer is never when sie does not enable it', async () => {
    const m = await start([asm.wfi]);
    expect(m.hart.run(10)).toBe('idle');
    expect(m.hart.nextTimer()).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('leaving a slice', () => {
  it('a page that must be waited for: the instruction starts again, and nothing happened', async () => {
    const m = await start([...li(T0, DATA - 4), asm.addi(A0, 0, -1), asm.sd(A0, T0, 0), asm.addi(A1, 0, 1)]);
    m.pages.absent.add(DATA / 4096);
    expect(m.hart.run(100)).toBe('wait');
    expect(pc(m)).toBe(RAM_BASE + 20);
    expect(m.pages.get(DATA - 4)).toBe(0);
    m.pages.absent.clear();
    expect(m.hart.run(100)).toBe('budget');
    expect([m.pages.get(DATA - 4), m.pages.get(DATA), x(m, A1)]).toEqual([-1, -1, 1n]);
  });

  it('requestLeave from a device ends the slice right after that store', async () => {
    const m = await start([asm.lui(T0, MMIO >>> 12), asm.sw(0, T0, 0), asm.addi(A0, 0, 1)]);
    m.bus.onWrite = () => m.hart.requestLeave();
    expect(m.hart.run(10_000)).toBe('leave-requested');
    expect(x(m, A0)).toBe(0n);
    expect(m.hart.run(100)).toBe('budget');
    expect(x(m, A0)).toBe(1n);
  });

  it('leaves no grant in the TLB', async () => {
    const m = await start([...li(T0, DATA), asm.sd(T0, T0, 0)]);
    m.hart.run(100);
    const { tlb } = m.thread.mmu;
    const dataLow = DATA | 0;
    expect([0, 1, 2, 3].map((table) => tlb.frameOf(table, dataLow, 0) > 0)).toEqual([false, false, true, true]);
    m.hart.leave();
    for (let table = 0; table < 8; table++) {
      expect(tlb.frameOf(table, dataLow, 0)).toBe(-1);
      expect(tlb.frameOf(table, RAM_BASE | 0, 0)).toBe(-1);
    }
  });
});

describe('devices', () => {
  it('see the width and the value; 8 bytes are two accesses, low half first', async () => {
    const m = await start([
      asm.lui(T0, MMIO >>> 12),
      asm.addi(T1, 0, -2),
      asm.sb(T1, T0, 3),
      asm.sd(T1, T0, 8),
      asm.lb(A0, T0, 5),
      asm.ld(A1, T0, 16),
    ]);
    m.bus.readValue = 0x80;
    m.hart.run(100);
    expect(m.bus.log).toEqual([
      'write 10000003 1 fe',
      'write 10000008 4 fffffffe',
      'write 1000000c 4 ffffffff',
      'read 10000005 1',
      'read 10000010 4',
      'read 10000014 4',
    ]);
    expect([x(m, A0), x(m, A1)]).toEqual([-128n, 0x80_0000_0080n]);
  });
});

describe('cbo.zero', () => {
  it('clears a page, and takes no frame for one that nobody wrote', async () => {
    const m = await start([...li(T0, DATA), asm.cboZero(T0), ...li(T1, DATA + 0x1000), asm.cboZero(T1), asm.ld(A0, T0, 8)]);
    m.pages.put(DATA, 1, 2, 3, 4);
    m.hart.run(100);
    expect(x(m, A0)).toBe(0n);
    expect(m.pages.frames[(DATA + 0x1000 - RAM_BASE) / 4096]).toBe(0);
  });
});
