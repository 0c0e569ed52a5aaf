import { describe, expect, it } from 'vitest';
import { TranslationStatistics } from './statistics.ts';

describe('statistics of translation', () => {
  it('are read elsewhere through the same memory, and added up over threads', () => {
    const threads = [new TranslationStatistics(), new TranslationStatistics()] as const;
    threads[0].add('asked');
    threads[0].add('bytes', 500);
    threads[0].add('bytes', -200);
    threads[1].add('asked', 2);
    const elsewhere = threads.map(({ buffer }) => new TranslationStatistics(buffer));
    expect(TranslationStatistics.figures(elsewhere)).toMatchObject({ asked: 3, bytes: 300, known: 0, p99Ms: 0, longestMs: 0 });
  });

  it('times are a percentile that is never too low, and the longest of all threads', () => {
    const threads = [new TranslationStatistics(), new TranslationStatistics()] as const;
    for (let i = 0; i < 98; i++) threads[i % 2].addInterval(0.01, 0.01);
    threads[0].addInterval(3, 2);
    threads[1].addInterval(12.5, 1);
    const { intervals, workMs, longestMs, longestOwnMs, p99Ms } = TranslationStatistics.figures(threads);
    expect([intervals, longestMs, longestOwnMs]).toEqual([100, 12.5, 2]);
    expect(workMs).toBeCloseTo(16.48);
    expect(p99Ms).toBeGreaterThanOrEqual(3);
    expect(p99Ms).toBeLessThan(3 * 1.1);
  });

  it.each([0, 1e-9, 1e-3, 1e9])('a time of %d ms has a bucket', (ms) => {
    const statistics = new TranslationStatistics();
    statistics.addInterval(ms, ms);
    expect(TranslationStatistics.figures([statistics]).p99Ms).toBeGreaterThan(0);
  });
});
