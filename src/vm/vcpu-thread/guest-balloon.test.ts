/** Rule M77, the owner's side: targets with an expected one before, and what the guest says, as words. */
import { expect, test } from 'vitest';
import type { BalloonDevice } from '../../devices/virtio/balloon/device.ts';
import type { BalloonStatistics } from '../../devices/virtio/balloon/statistics.ts';
import { VM_BALLOON_TARGET, VM_GUEST_AVAILABLE, VM_GUEST_FREE, VM_PROMISED, VM_STATISTICS } from '../../host-memory/tables.ts';
import { GuestBalloon } from './guest-balloon.ts';

const ACCOUNT = 64;
const PAGE = 4096;

function open() {
  const words = new Int32Array(256);
  words[ACCOUNT + VM_PROMISED] = 1000;
  let said: BalloonStatistics = {};
  const device = {
    target: 0,
    setTarget(pages: number) {
      this.target = pages;
    },
    statistics: () => said,
  };
  const balloon = new GuestBalloon({ words, account: ACCOUNT }, device as unknown as BalloonDevice);
  const say = (statistics: BalloonStatistics) => {
    said = statistics;
    balloon.poll();
    balloon.poll();
    return [VM_GUEST_FREE, VM_GUEST_AVAILABLE, VM_STATISTICS].map((word) => words[ACCOUNT + word]);
  };
  return { words, device, balloon, say };
}

test('M77: a target is changed only while it is the expected one; a person’s always is', () => {
  const { words, device, balloon } = open();
  expect(balloon.setTarget(10, 0)).toBe(true);
  expect(balloon.setTarget(20, 0)).toBe(false);
  expect([device.target, words[ACCOUNT + VM_BALLOON_TARGET]]).toEqual([10, 10]);
  expect(balloon.setTarget(5)).toBe(true);
  expect(balloon.setTarget(20, 10)).toBe(false);
  expect([device.target, words[ACCOUNT + VM_BALLOON_TARGET]]).toEqual([5, 5]);
});

test('M77: each answer is published once, and no more is believed than was promised', () => {
  const { say } = open();
  expect(say({ minorFaults: 3 })).toEqual([0, 0, 0]);
  expect(say({ freeBytes: 10 * PAGE + 1, availableBytes: 20 * PAGE })).toEqual([10, 20, 1]);
  // Old guests know what is free only.
  expect(say({ freeBytes: 7 * PAGE })).toEqual([7, 7, 2]);
  expect(say({ freeBytes: 2 ** 63, availableBytes: 2 ** 64 })).toEqual([1000, 1000, 3]);
  expect(say({})).toEqual([1000, 1000, 3]);
});
