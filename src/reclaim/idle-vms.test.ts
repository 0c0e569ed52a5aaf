import { expect, it } from 'vitest';
import { smallPool } from '../guest-memory/test-guest.ts';
import { VM_RUN_TIME } from '../host-memory/tables.ts';
import { IdleVms } from './idle-vms.ts';

it('M79: a VM is idle while its hart runs for less than 3 % of the time, however often one looks', () => {
  const host = smallPool();
  const idle = new IdleVms(host);
  const ran = (us: number): void => {
    host.words[host.vmEntry(1) + VM_RUN_TIME] += us;
  };
  // The counter wraps on the way.
  host.words[host.vmEntry(1) + VM_RUN_TIME] = 0x7fff_ff00;
  idle.look([1], 0);
  expect(idle.idleMs(1, 0)).toBe(0);
  for (let now = 500; now <= 5000; now += 500) {
    ran(10_000);
    idle.look([1], now);
  }
  expect(idle.idleMs(1, 5000)).toBe(5000);
  // A tick of 2 ms between two looks that are 3 ms apart is no work.
  ran(2000);
  idle.look([1], 5003);
  expect(idle.idleMs(1, 5003)).toBe(5003);
  ran(100_000);
  idle.look([1], 5500);
  expect(idle.idleMs(1, 5500)).toBe(0);
  idle.look([], 6000);
  expect(idle.idleMs(1, 6000)).toBe(0);
});
