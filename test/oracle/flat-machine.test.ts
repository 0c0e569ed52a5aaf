import { expect, it } from 'vitest';
import { FlatMachine } from './flat-machine.ts';

it('runs a loop, across pages, to its ecall', async () => {
  const machine = await FlatMachine.create({ base: 0x10000, bytes: 1 << 20 });
  // li a0,0; li a1,100; loop: add a0,a0,a1; addi a1,a1,-1; bnez a1,loop; ecall
  machine.writeCode(0x10ff4, [0x00000513, 0x06400593, 0x00b50533, 0xfff58593, 0xfe059ce3, 0x00000073]);
  machine.pc = 0x10ff4n;
  expect(machine.run()).toBe('ECALL');
  expect(machine.x[10]).toBe(5050n);
  expect(machine.pc).toBe(0x11008n);
  expect(machine.retired).toBe(302);
});
