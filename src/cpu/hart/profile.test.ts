/** Profiles of a small machine: where its instructions are, who runs them, and what its exits are counted as. */
import { describe, expect, it } from 'vitest';
import { RAM_BASE } from '../../layout/machine.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import { asm } from './assembly-for-tests.ts';
import { CSR } from './csr-numbers.ts';
import { makeMachine, type TestMachine } from './machine-for-tests.ts';
import type { HartProfile } from './profile.ts';
import { WIDE } from './state.ts';

const A0 = 10;
const CODE = RAM_BASE + 0x1000;
const HANDLER = RAM_BASE + 0x3000;
const jump = (imm: number): number => encode('jal', { rd: 0, imm });

/** Entered at RAM_BASE in S-mode. */
async function machineOf(translated: boolean, code: Readonly<Record<number, readonly number[]>>): Promise<TestMachine> {
  const machine = await makeMachine(translated ? 'translator' : 'of this run');
  for (const [address, words] of Object.entries(code)) machine.pages.put(Number(address), ...words);
  machine.hart.state.reset(RAM_BASE, 0);
  machine.hart.state.wide[WIDE.STVEC] = HANDLER | 0;
  machine.hart.enter();
  return machine;
}

function profile({ hart }: TestMachine, instructions: number): HartProfile {
  hart.beginProfile();
  for (let left = instructions; left > 0; left -= 200_000) hart.run(200_000);
  return hart.endProfile();
}

describe.each([false, true])('with everything translated: %s', (translated) => {
  it('a page has the share of its instructions, and so has who runs them', async () => {
    // 100 instructions in one page and 300 in the next, without a branch but from one to the other.
    const straight = (count: number): number[] => Array(count).fill(asm.addi(A0, A0, 1));
    const machine = await machineOf(translated, {
      [RAM_BASE]: [...straight(99), jump(CODE - RAM_BASE - 4 * 99)],
      [CODE]: [...straight(299), jump(RAM_BASE - CODE - 4 * 299)],
    });
    machine.hart.run(20_000);
    const { pages, samples, instructions, elsewhere, translated: inRegions } = profile(machine, 20_000_000);
    expect(instructions).toBeGreaterThan(19_000_000);
    expect(samples).toBeGreaterThan(700);
    expect(elsewhere).toBe(0);
    expect(pages.map(({ address, physical, mode }) => [address, physical, mode])).toEqual([
      [`0x${CODE.toString(16)}`, `0x${CODE.toString(16)}`, 'kernel'],
      [`0x${RAM_BASE.toString(16)}`, `0x${RAM_BASE.toString(16)}`, 'kernel'],
    ]);
    expect(pages[0].samples / samples).toBeGreaterThan(0.65);
    expect(pages[0].samples / samples).toBeLessThan(0.85);
    if (!translated && process.env.SHOAL_TRANSLATION === '1') return;
    expect(inRegions).toBe(translated ? samples : 0);
    for (const page of pages) {
      expect(page.translated).toBe(translated ? page.samples : 0);
      expect(page.regions > 0).toBe(translated);
    }
  });

  it('a loop in user mode that calls its kernel, call by call', async () => {
    const user = RAM_BASE + 0x2000;
    const machine = await machineOf(translated, {
      [RAM_BASE]: [asm.lui(A0, user >>> 12), asm.slli(A0, A0, 32), asm.srli(A0, A0, 32), asm.csrrw(0, CSR.SEPC, A0), asm.sret],
      [user]: [...Array(50).fill(asm.addi(A0, A0, 1)), asm.ecall, jump(-4 * 51)],
      // Goes on behind the ecall.
      [HANDLER]: [asm.csrrs(5, CSR.SEPC, 0), asm.addi(5, 5, 4), asm.csrrw(0, CSR.SEPC, 5), asm.sret],
    });
    machine.hart.run(20_000);
    const { pages, exits, calls, instructions, samples } = profile(machine, 4_000_000);
    // The ecall itself is not counted.
    const turns = instructions / 55;
    expect(Math.abs(exits.userCalls - turns)).toBeLessThan(turns / 100);
    expect(Math.abs(exits.supervisorReturns - turns)).toBeLessThan(turns / 100);
    expect(Math.abs(calls.csrInstructions - 2 * turns)).toBeLessThan(turns / 50);
    expect([exits.loadPageFaults, exits.otherExceptions, exits.timerInterrupts, calls.deviceReads]).toEqual([0, 0, 0, 0]);
    expect(pages[0]).toMatchObject({ address: `0x${user.toString(16)}`, mode: 'user' });
    expect(pages[0].samples / samples).toBeGreaterThan(0.9);
  });
});

it('counts between its begin and its end only, and not for another hart', async () => {
  const machine = await machineOf(false, { [RAM_BASE]: [asm.ebreak], [HANDLER]: [asm.wfi, jump(-4)] });
  expect(machine.hart.run(1000)).toBe('idle');
  const { exits } = profile(machine, 1);
  expect([exits.breakpoints, exits.waitsForInterrupt]).toEqual([0, 1]);
  machine.hart.run(1000);
  expect(exits.waitsForInterrupt).toBe(1);
});
