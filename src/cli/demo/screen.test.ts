import { createHash } from 'node:crypto';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { FakePool } from '../../../test/fakes/fake-pool.ts';
import { type DemoModel, newModel } from './model.ts';
import { allWell, makeReport, renderSummary } from './report.ts';
import { PATTERN_BYTES, patternBytes, patternLine } from './scenario.ts';
import { renderScreen } from './screen.ts';

const MIB = 2 ** 20;
const pool = {
  poolBytes: 1024 * MIB,
  promisedBytes: 2048 * MIB,
  framesInUse: 256 * 100,
  framesPeak: 256 * 300,
  framesByState: { private: 256 * 60, shared: 256 * 36, handy: 256 * 4, free: 256 * 924 },
  tableBytes: MIB,
  residentBytes: 220 * MIB,
  manager: (await new FakePool().memory()).manager,
};

function doneModel(): DemoModel {
  const model = newModel(2);
  model.pool = pool;
  model.kernel = '6.12.0-riscv64';
  model.residentPeakBytes = 500 * MIB;
  for (const guest of model.guests) {
    Object.assign(guest, { phase: 'idle', firstLineMs: 1500, commandsOk: true, busyboxOk: true, patternOk: true });
    guest.memory = {
      promisedBytes: 256 * MIB,
      zeroBytes: 190 * MIB,
      privateBytes: 34 * MIB,
      sharedBytes: 28 * MIB,
      balloonedBytes: 0,
      absentBytes: 0,
      handyBytes: 0,
      tableBytes: 0,
      returnedBytes: 32 * MIB,
      cpuMs: 0,
      minimumBytes: 0,
      maximumBytes: 0,
      shares: 100,
    };
  }
  model.forks = { count: 20, ms: 12.34, bytes: 1.5 * MIB };
  model.events.push('  1.5 s  g1 Linux');
  return model;
}

test('the screen shows the bars, a row per guest and the events', () => {
  const lines = stripVTControlCharacters(renderScreen(doneModel(), 100)).split('\n');
  expect(lines[0]).toMatch(/^shoal: 2 of 2 Linux guests up in one process · \d+ s$/);
  expect(lines.slice(2, 6).map((line) => line.replace(/[█░]+/, '#'))).toEqual([
    'promised  # 2 GiB',
    'pool      # 1 GiB',
    'in use    # 100 MiB',
    'host RSS  # 220 MiB',
  ]);
  expect(lines[8]).toBe('g1    idle           34 MiB    28 MiB   190 MiB    32 MiB  ✓ busybox ✓ 32 MiB');
  expect(lines.at(-1)).toBe('  1.5 s  g1 Linux');
});

test('no line is wider than the terminal', () => {
  const model = doneModel();
  model.events.push('x'.repeat(500));
  for (const line of stripVTControlCharacters(renderScreen(model, 80)).split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});

test('the report counts what held', () => {
  const model = doneModel();
  expect(makeReport(model, pool)).toMatchObject({
    guests: 2,
    commandsOk: 2,
    checksumsOk: 2,
    kernel: '6.12.0-riscv64',
    firstLineMs: 1500,
    forks: 20,
    forkMs: 12.34,
    forkBytes: 1.5 * MIB,
  });
  expect(allWell(makeReport(model, pool))).toBe(true);
  model.guests[1].patternOk = false;
  expect(makeReport(model, pool).checksumsOk).toBe(1);
  expect(allWell(makeReport(model, pool))).toBe(false);
  expect(allWell(makeReport({ ...doneModel(), forks: undefined }, pool))).toBe(false);
  const summary = renderSummary(makeReport(doneModel(), pool));
  expect(summary).toContain('20.5 times over-committed');
  expect(summary).toMatch(/\ng1 ─ fork ×20 → 12\.3 ms, \+1\.5 MiB$/);
});

test('the pattern is lines of one guest, and no two of its pages or of two guests are equal', () => {
  const bytes = patternBytes(patternLine(3));
  expect(bytes.length).toBe(PATTERN_BYTES);
  expect(bytes.subarray(0, 200).toString().split('\n').slice(0, 2)).toEqual([patternLine(3), patternLine(3)]);
  const hash = (number: number): string =>
    createHash('md5')
      .update(patternBytes(patternLine(number)))
      .digest('hex');
  expect(hash(1)).not.toBe(hash(2));
});
