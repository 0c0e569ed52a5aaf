import { expect, it } from 'vitest';
import { RAM_BASE } from '../../layout/machine.ts';
import { asm } from './assembly-for-tests.ts';
import { makeMachine, type TestMachine } from './machine-for-tests.ts';

const [A0, A1, A2, A6, A7] = [10, 11, 12, 16, 17];
const BASE = 0x10;
const TIME = 0x5449_4d45;
const SRST = 0x5352_5354;
const DBCN = 0x4442_434e;

/** Makes one SBI call from S-mode; gives a0 and a1, or how the run ended. */
async function call(extension: number, id: number, args: readonly number[], ready?: (m: TestMachine) => void) {
  const m = await makeMachine();
  m.pages.put(RAM_BASE, asm.ecall, asm.spin);
  m.hart.state.reset(RAM_BASE, 0);
  m.hart.enter();
  ready?.(m);
  const { registers } = m.thread;
  for (const [i, register] of [A0, A1, A2].entries()) {
    registers.set(register, (args[i] ?? 0) | 0, Math.floor((args[i] ?? 0) / 2 ** 32));
  }
  registers.set(A6, id, 0);
  registers.set(A7, extension, 0);
  const result = m.hart.run(10);
  return { m, result, error: registers.low(A0), value: registers.low(A1), high: registers.high(A0) };
}

it('BASE: specification 2.0, and which extensions there are', async () => {
  expect(await call(BASE, 0, [])).toMatchObject({ error: 0, value: 0x200_0000 });
  for (const extension of [BASE, TIME, SRST, DBCN])
    expect(await call(BASE, 3, [extension])).toMatchObject({ error: 0, value: 1 });
  expect(await call(BASE, 3, [0x73_5049])).toMatchObject({ error: 0, value: 0 });
  for (const id of [1, 2, 4, 5, 6]) expect(await call(BASE, id, [])).toMatchObject({ error: 0, result: 'budget' });
  expect(await call(BASE, 7, [])).toMatchObject({ error: -2, high: -1 });
});

it('an extension that is not there answers -2, legacy ones too', async () => {
  for (const extension of [0, 1, 8, 0x73_5049, 0x48_534d])
    expect(await call(extension, 0, [])).toMatchObject({ error: -2, value: 0 });
});

it('TIME sets stimecmp', async () => {
  const { m, error } = await call(TIME, 0, [2 ** 33 + 5]);
  expect(error).toBe(0);
  m.hart.state.interruptEnable = 1 << 5;
  expect(m.hart.nextTimer()).toBe(2 ** 33 + 5);
});

it('SRST ends the run', async () => {
  expect(await call(SRST, 0, [0])).toMatchObject({ result: 'shutdown' });
  expect(await call(SRST, 0, [1])).toMatchObject({ result: 'reboot' });
  expect(await call(SRST, 0, [2])).toMatchObject({ result: 'reboot' });
  expect(await call(SRST, 0, [3])).toMatchObject({ error: -3, result: 'budget' });
});

const TEXT = RAM_BASE + 0x2ffc;

it('DBCN writes bytes from RAM, up to the end of the page', async () => {
  const put = (m: TestMachine): void => m.pages.put(TEXT, 0x6c_6c_65_68, 0x0a_6f);
  const all = await call(DBCN, 0, [3, TEXT + 1], put);
  expect(all).toMatchObject({ error: 0, value: 3 });
  expect(all.m.console.written).toBe('ell');
  const cut = await call(DBCN, 0, [6, TEXT], put);
  expect(cut).toMatchObject({ error: 0, value: 4 });
  expect(cut.m.console.written).toBe('hell');
  expect((await call(DBCN, 2, [0x141])).m.console.written).toBe('A');
});

it('DBCN reads what is waiting', async () => {
  const { m, ...outcome } = await call(DBCN, 1, [10, TEXT - 4], (machine) => {
    machine.console.input = 'hi';
  });
  expect(outcome).toMatchObject({ error: 0, value: 2 });
  expect(m.pages.get(TEXT - 4)).toBe(0x6968);
});

it('DBCN refuses what is not RAM, and waits for a page that is not there', async () => {
  for (const address of [0, 0x1000_0000, 2 ** 40, 2 ** 60]) {
    expect(await call(DBCN, 0, [1, address])).toMatchObject({ error: -3 });
    expect(await call(DBCN, 1, [1, address])).toMatchObject({ error: -3 });
  }
  expect(await call(DBCN, 0, [1, TEXT, 1])).toMatchObject({ error: -3 });
  const { m, result } = await call(DBCN, 0, [1, TEXT], (machine) => machine.pages.absent.add(Math.floor(TEXT / 4096)));
  expect(result).toBe('wait');
  expect(m.thread.registers.pcLow >>> 0).toBe(RAM_BASE);
});
