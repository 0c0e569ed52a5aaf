/** `shoal demo`, as README shows it. */
import { expect, test } from 'vitest';
import { ShoalSession } from './machines.ts';

test('eight guests prove their memory and give it back, and one is forked', { timeout: 300_000 }, async () => {
  await using session = new ShoalSession();
  const { code, stdout, stderr } = await session.run(['demo', '--json']);
  expect(stderr).toContain('g8 Linux');
  expect(code).toBe(0);
  const lines = stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(1);
  const report = JSON.parse(lines[0]);
  expect(report).toMatchObject({
    guests: 8,
    commandsOk: 8,
    checksumsOk: 8,
    kernel: expect.stringMatching(/^\d+\.\d+\.\d+\S*-riscv64$/),
    promisedBytes: 8 * 256 * 2 ** 20,
    poolBytes: 2 ** 30,
    forks: 20,
    forkMs: expect.any(Number),
    forkBytes: expect.any(Number),
  });
  const { private: privateFrames, shared, handy, free } = report.framesByState;
  expect(report.framesInUse).toBe(privateFrames + shared + handy);
  expect(report.framesInUse + free).toBe(report.poolBytes / 4096);
  expect(report.framesPeak).toBeGreaterThanOrEqual(report.framesInUse + (8 * 30 * 2 ** 20) / 4096);
  // Freed memory came back: far less is in use than all guests held at once.
  expect(report.residentBytes).toBeGreaterThan(report.framesInUse * 4096 * 0.9);
});
