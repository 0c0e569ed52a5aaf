import { describe, expect, it } from 'vitest';
import { FusionTime, threadCpuMs } from './fusion-time.ts';
import { NOMINATION } from './nominations.ts';

describe('time of page fusion', () => {
  const work = (ms: number): void => {
    const end = threadCpuMs() + ms;
    while (threadCpuMs() < end);
  };

  it('is told apart from that of all others, and both begin anew', () => {
    const time = new FusionTime();
    time.begin(false);
    work(3);
    time.turnTo(NOMINATION.shareFurther);
    work(5);
    time.turnTo(NOMINATION.zero);
    time.turnTo(NOMINATION.park);
    work(4);
    time.end();
    expect(time.fusionMs).toBeGreaterThanOrEqual(5);
    expect(time.totalMs - time.fusionMs).toBeGreaterThanOrEqual(7);
    time.begin(true);
    time.end();
    expect(time.fusionMs).toBe(time.totalMs);
  });
});
