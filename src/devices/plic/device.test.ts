import { expect, test } from 'vitest';
import { Plic } from './device.ts';

const ENABLE = 0x2080;
const THRESHOLD = 0x20_1000;
const CLAIM = 0x20_1004;

function plic() {
  const levels: boolean[] = [];
  const device = new Plic((level) => levels.push(level));
  return { device, levels };
}

test('a line is pending until it is claimed, and again after completion while it is high', () => {
  const { device, levels } = plic();
  device.write(4 * 3, 4, 1);
  device.write(ENABLE, 4, 1 << 3);
  const line = device.line(3);
  line.set(true);
  expect(levels).toEqual([true]);
  expect(device.read(CLAIM, 4)).toBe(3);
  expect(levels).toEqual([true, false]);
  expect(device.read(CLAIM, 4)).toBe(0);
  device.write(CLAIM, 4, 3);
  expect(levels).toEqual([true, false, true]);
  line.set(false);
  expect(levels.at(-1)).toBe(false);
});

test('the highest priority above the threshold comes first, then the lowest number', () => {
  const { device } = plic();
  for (const [source, priority] of [
    [2, 1],
    [5, 3],
    [7, 3],
    [31, 2],
  ]) {
    device.write(4 * source, 4, priority);
    device.line(source).set(true);
  }
  device.write(ENABLE, 4, 0xffff_ffff);
  device.write(THRESHOLD, 4, 1);
  expect([1, 2, 3, 4].map(() => device.read(CLAIM, 4))).toEqual([5, 7, 31, 0]);
  device.write(THRESHOLD, 4, 0);
  expect(device.read(CLAIM, 4)).toBe(2);
});

test('a completion of a source that is not enabled is ignored', () => {
  const { device } = plic();
  device.write(4 * 9, 4, 7);
  device.write(ENABLE, 4, 1 << 9);
  device.line(9).set(true);
  expect(device.read(CLAIM, 4)).toBe(9);
  device.write(ENABLE, 4, 0);
  device.write(CLAIM, 4, 9);
  device.write(ENABLE, 4, 1 << 9);
  expect(device.read(CLAIM, 4)).toBe(0);
  device.write(CLAIM, 4, 9);
  expect(device.read(CLAIM, 4)).toBe(9);
});

test('the machine-mode context keeps its registers and drives nothing', () => {
  const { device, levels } = plic();
  device.write(4, 4, 7);
  device.write(0x2000, 4, 2);
  device.line(1).set(true);
  expect(device.read(0x2000, 4)).toBe(2);
  expect(levels).toEqual([]);
});

test('source 0 does not exist, priorities end at 7, reserved offsets read 0', () => {
  const { device } = plic();
  device.write(ENABLE, 4, 0xffff_ffff);
  expect(device.read(ENABLE, 4) >>> 0).toBe(0xffff_fffe);
  device.write(8, 4, 0xffff_ffff);
  expect(device.read(8, 4)).toBe(7);
  for (const offset of [0x80, 0x1004, 0x2004, 0x2100, 0x20_2000, 0x5f_fffc]) expect(device.read(offset, 4)).toBe(0);
});

test('save and restore keep a claimed source claimed, and reset drops the output', () => {
  const first = plic();
  first.device.write(4 * 3, 4, 1);
  first.device.write(ENABLE, 4, 1 << 3);
  first.device.line(3).set(true);
  const second = plic();
  second.device.restore(first.device.save());
  expect(second.levels).toEqual([true]);
  expect(second.device.read(CLAIM, 4)).toBe(3);
  expect(second.device.read(CLAIM, 4)).toBe(0);
  first.device.reset();
  expect(first.levels).toEqual([true, false]);
  expect(() => second.device.restore({ name: 'uart', version: 1, data: {} })).toThrow(/plic/);
});
