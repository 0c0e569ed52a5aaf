/**
 * Two machines with the same guest, one interpreted and one all of whose code is translated where it is first run. What the guest could see of both
 * is compared whenever they stop. Not shipped code.
 *
 * Virtual addresses below 16 MiB are mapped page by page. A trap or an interrupt ends in the handler's `wfi`, with sie at 0, where the test
 * looks and mends; what follows there is `sfence.vma` and `sret`.
 */
import { expect } from 'vitest';
import type { Random } from '../../../test/oracle/random.ts';
import { RAM_BASE } from '../../layout/machine.ts';
import { BUDGET, REG_F, REG_PC, REG_X, REGISTER_BYTES, SCRATCH } from '../../layout/thread-block.ts';
import { asm } from '../hart/assembly-for-tests.ts';
import { total } from '../hart/counters.ts';
import { CSR } from '../hart/csr-numbers.ts';
import type { RunResult } from '../hart/hart.ts';
import { makeMachine, RAM_PAGES, TEST_MAP, type TestMachine } from '../hart/machine-for-tests.ts';
import { WIDE } from '../hart/state.ts';

export const PAGE = 4096;
/** The first page of RAM, as guest pages are counted. */
export const RAM = RAM_BASE / PAGE;
export const DEVICE = 0x1000_0000 / PAGE;
/** Bits of a page table entry; A and D are left for the machine to set. */
export const PTE = { V: 1, R: 2, W: 4, X: 8, U: 16, A: 64, D: 128 } as const;
export const RW = PTE.V | PTE.R | PTE.W | PTE.U;
export const RX = PTE.V | PTE.R | PTE.X | PTE.U;
export const RWX = RW | PTE.X;

/** Guest pages of the tables and of the handler; those from FREE on are for tests. */
const [ROOT, MIDDLE] = [RAM + 1, RAM + 2];
export const HANDLER = RAM + 3;
/** The leaf tables, and the entries that lead to them. */
export const LEAVES = Array.from({ length: 8 }, (_, i) => RAM + 8 + i);
export const LEAF_ENTRIES = LEAVES.flatMap((leaf) => [(leaf << 10) | PTE.V, 0]);
export const FREE = RAM + 16;
/** Virtual page of the handler. */
export const HANDLER_PAGE = 1;

const SATP_SV39 = 0x8000_0000 | 0;
const STATUS_SPP = 0x100;
/** More than any program here runs before it stops. */
const PLENTY = 1_000_000;

export class Pair {
  readonly interpreter: TestMachine;
  readonly translator: TestMachine;
  /** For messages. */
  label = '';
  readonly #regionsBefore: number;

  private constructor(interpreter: TestMachine, translator: TestMachine) {
    this.interpreter = interpreter;
    this.translator = translator;
    this.#regionsBefore = translator.regionsMade();
  }

  /** How many regions this pair's translator was given. */
  get regions(): number {
    return this.translator.regionsMade() - this.#regionsBefore;
  }

  /** Both in U-mode, or S-mode, with paging on, nothing but the handler mapped, and all registers 0. */
  static async open(label: string, mode: 'user' | 'supervisor' = 'user'): Promise<Pair> {
    const pair = new Pair(await makeMachine('interpreter'), await makeMachine('translator'));
    pair.label = label;
    pair.each(({ pages, hart }) => {
      pages.put(ROOT * PAGE, (MIDDLE << 10) | PTE.V, 0);
      pages.put(MIDDLE * PAGE, ...LEAF_ENTRIES);
      pages.put(HANDLER * PAGE, asm.csrrwi(0, CSR.SIE, 0), asm.wfi, asm.sfenceVma(0, 0), asm.sret);
      const { state } = hart;
      state.reset(0, 0);
      state.user = mode === 'user';
      if (!state.user) state.status = STATUS_SPP;
      state.wide[WIDE.STVEC] = HANDLER_PAGE * PAGE;
      state.wide[WIDE.SATP] = ROOT;
      state.wide[WIDE.SATP + 1] = SATP_SV39;
    });
    pair.map(HANDLER_PAGE, HANDLER, PTE.V | PTE.X | PTE.A);
    pair.each(({ hart, thread }) => {
      hart.enter();
      thread.registers.fs = 1;
      thread.registers.set(10, 0, 0);
    });
    return pair;
  }

  each(action: (machine: TestMachine) => void): void {
    action(this.interpreter);
    action(this.translator);
  }

  /** Maps a virtual page; flags of 0 unmap it. The guest fences. */
  map(page: number, guestPage: number, flags: number): void {
    const address = (LEAVES[page >> 9] as number) * PAGE + (page & 511) * 8;
    this.each(({ pages }) => pages.put(address, (guestPage << 10) | flags, guestPage >>> 22));
  }

  /** Writes to guest pages that follow each other, as a device does. */
  write(guestPage: number, offset: number, bytes: Uint8Array): void {
    this.each(({ memory, pages }) => {
      for (let done = 0; done < bytes.length; ) {
        const at = guestPage * PAGE + offset + done;
        const piece = bytes.subarray(done, done + PAGE - (at % PAGE));
        new Uint8Array(memory.buffer).set(piece, pages.frameForWrite(Math.floor(at / PAGE)) * PAGE + (at % PAGE));
        done += piece.length;
      }
    });
  }

  /** Random bytes in the whole page. */
  fill(guestPage: number, random: Random): void {
    const bytes = Uint8Array.from({ length: PAGE }, () => random.below(256));
    this.write(guestPage, 0, bytes);
  }

  set(register: number, value: number): void {
    this.each(({ thread }) =>
      thread.registers.set(register, value | 0, value < 0 || value > 0x7fff_ffff ? Math.floor(value / 2 ** 32) : 0),
    );
  }
  setPc(address: number): void {
    this.each(({ thread }) => thread.registers.setPc(address | 0, 0));
  }
  /** Of the interpreter; the translator's is the same after `run`. */
  x(register: number): bigint {
    const { registers } = this.interpreter.thread;
    return (BigInt(registers.high(register)) << 32n) | BigInt(registers.low(register) >>> 0);
  }
  wide(index: number): number {
    return this.interpreter.hart.state.wide[index] as number;
  }

  /** Runs both until something other than the budget stops them. They must stop for the same reason and look the same. */
  run(): RunResult {
    const { registers } = this.translator.thread;
    // Where the hart goes on, a region may begin, too.
    this.translator.thread.sample(registers.pcLow, registers.pcHigh);
    const [ours, theirs] = [this.interpreter.hart.run(PLENTY), this.translator.hart.run(PLENTY)];
    expect([theirs, ...this.differences()], this.label).toEqual([ours]);
    expect(ours, this.label).not.toBe('budget');
    return ours;
  }

  /** What the guest could see and is not the same. */
  differences(): string[] {
    const [a, b] = [seen(this.interpreter), seen(this.translator)];
    const found: string[] = [];
    for (const [name, value] of a) if (value !== b.get(name)) found.push(`${name}: ${value}, translated ${b.get(name)}`);
    for (let page = 0; page < RAM_PAGES; page++) {
      const at = firstDifference(this.interpreter, this.translator, page);
      if (at >= 0) found.push(`memory: page ${page} at ${at}`);
    }
    return found;
  }
}

function seen({ hart, thread }: TestMachine): Map<string, number | boolean> {
  const { state } = hart;
  const registers = new Int32Array(REGISTER_BYTES / 4);
  thread.registers.saveAll(registers);
  const values = new Map<string, number | boolean>([
    ['retired', state.retired],
    ['user', state.user],
    ['sstatus', state.status],
    ['sie', state.interruptEnable],
    ['exceptions', total(hart.counters.exceptionsByCause)],
  ]);
  for (const [name, index] of Object.entries(WIDE))
    values.set(name, state.wide[index] as number).set(`${name} high`, state.wide[index + 1] as number);
  const mine = [BUDGET, BUDGET + 4, SCRATCH, SCRATCH + 4];
  for (let at = 0; at < REGISTER_BYTES; at += 4) if (!mine.includes(at)) values.set(nameOf(at), registers[at / 4] as number);
  return values;
}

function nameOf(at: number): string {
  if (at < REG_PC) return `${at < REG_F ? `x${(at - REG_X) >> 3}` : `f${(at - REG_F) >> 3}`}${at & 4 ? ' high' : ''}`;
  return `register word 0x${at.toString(16)}`;
}

function firstDifference(a: TestMachine, b: TestMachine, page: number): number {
  if (a.pages.frames[page] === 0 && b.pages.frames[page] === 0) return -1;
  const bytes = ({ memory, pages }: TestMachine): Buffer =>
    Buffer.from(memory.buffer, (pages.frames[page] || TEST_MAP.zeroFrame) * PAGE, PAGE);
  const [ours, theirs] = [bytes(a), bytes(b)];
  return ours.equals(theirs) ? -1 : ours.findIndex((byte, i) => byte !== theirs[i]);
}
