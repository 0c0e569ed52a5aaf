import { expect, test } from 'vitest';
import { Rtc } from './device.ts';

function rtc(nowMs: number) {
  const state = { nowMs, level: false };
  const device = new Rtc({ set: (level) => void (state.level = level) }, () => state.nowMs);
  const time = (): bigint => {
    const low = BigInt(device.read(0, 4));
    return (BigInt(device.read(4, 4)) << 32n) | low;
  };
  const set = (offset: number, ns: bigint): void => {
    device.write(offset + 4, 4, Number(ns >> 32n));
    device.write(offset, 4, Number(ns & 0xffff_ffffn));
  };
  return { device, state, time, set };
}

const NOW_MS = 1_790_000_000_123;

test('it tells the time in nanoseconds, the high half latched with the low', () => {
  const { device, state, time } = rtc(NOW_MS);
  expect(time()).toBe(BigInt(NOW_MS) * 1_000_000n);
  const low = device.read(0, 4);
  state.nowMs += 10_000;
  expect((BigInt(device.read(4, 4)) << 32n) | BigInt(low)).toBe(BigInt(NOW_MS) * 1_000_000n);
});

test('the guest may set it', () => {
  const { state, time, set } = rtc(NOW_MS);
  set(0, 5_000_000_000n);
  state.nowMs += 7;
  expect(time()).toBe(5_007_000_000n);
});

test('an alarm interrupts when it is due, until it is cleared', () => {
  const { device, state, set } = rtc(NOW_MS);
  device.write(0x10, 4, 1);
  set(8, BigInt(NOW_MS + 50) * 1_000_000n);
  expect(device.nextAlarmMs).toBe(NOW_MS + 50);
  expect(device.read(0x18, 4)).toBe(1);
  device.poll();
  expect(state.level).toBe(false);
  state.nowMs += 50;
  device.poll();
  expect(state.level).toBe(true);
  expect(device.nextAlarmMs).toBe(Number.POSITIVE_INFINITY);
  device.write(0x1c, 4, 1);
  expect(state.level).toBe(false);
});

test('save and restore keep an armed alarm; reset drops it', () => {
  const first = rtc(NOW_MS);
  first.device.write(0x10, 4, 1);
  first.set(8, BigInt(NOW_MS + 50) * 1_000_000n);
  const second = rtc(NOW_MS + 60);
  second.device.restore(first.device.save());
  second.device.poll();
  expect(second.state.level).toBe(true);
  first.device.reset();
  expect(first.device.nextAlarmMs).toBe(Number.POSITIVE_INFINITY);
});
