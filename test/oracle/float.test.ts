/** Every floating-point operation, result and flags, against QEMU: grids of special values and random operands, all rounding modes. */
import { describe, expect, it } from 'vitest';
import { randomCases, specialGrid } from './float-cases.ts';
import {
  CASE_BYTES,
  FLAGS_BEFORE,
  FLOAT_OPERATIONS,
  type FloatMachine,
  qemuFloatMachine,
  ROUNDING_MODES,
  wasmFloatMachine,
} from './float-operations.ts';
import { Random } from './random.ts';
import { GCC, QEMU_USER, temporaryFolder, whyUnavailable } from './toolchain.ts';

const SEED = Number(process.env.ORACLE_SEED ?? 20261123);
const GRID_CASES_MAX = 12_000;
const RANDOM_CASES = 12_000;

const unavailable = whyUnavailable(GCC, QEMU_USER);
if (unavailable) console.log(`floating point against QEMU ${unavailable}`);

describe.skipIf(unavailable)('floating point against QEMU', () => {
  it('gives the same bits and flags', { timeout: 120_000 }, () => {
    using folder = temporaryFolder();
    const qemu = qemuFloatMachine(folder.path);
    const ours = wasmFloatMachine(GRID_CASES_MAX + RANDOM_CASES);
    const random = new Random(SEED);
    let compared = 0;
    const differences: string[] = [];
    FLOAT_OPERATIONS.forEach((operation, index) => {
      const cases = Buffer.concat([specialGrid(operation, GRID_CASES_MAX, random), randomCases(operation, RANDOM_CASES, random)]);
      for (let mode = 0; mode < (operation.rounds ? ROUNDING_MODES : 1); mode++) {
        for (const flagsBefore of FLAGS_BEFORE) {
          differences.push(...compare(qemu, ours, index, cases, mode, flagsBefore));
          compared += cases.length / CASE_BYTES;
        }
      }
    });
    expect(differences, `seed ${SEED}`).toEqual([]);
    expect(compared).toBeGreaterThan(5_000_000);
  });
});

/** The first few differences, readable. */
function compare(
  qemu: FloatMachine,
  ours: FloatMachine,
  index: number,
  cases: Uint8Array,
  mode: number,
  flagsBefore: number,
): string[] {
  const expected = qemu(index, cases, mode, flagsBefore);
  const actual = ours(index, cases, mode, flagsBefore);
  const { name, operands } = FLOAT_OPERATIONS[index];
  const words = new BigUint64Array(new Uint8Array(cases).buffer);
  const found: string[] = [];
  for (let i = 0; i < expected.results.length && found.length < 3; i++) {
    if (expected.results[i] === actual.results[i] && expected.flags[i] === actual.flags[i]) continue;
    const given = operands.map((_, k) => words[i * 3 + k].toString(16)).join(', ');
    const show = (results: BigUint64Array, flags: Uint8Array): string => `${results[i].toString(16)} flags ${flags[i]}`;
    found.push(
      `${name} rm ${mode} flags ${flagsBefore}: ${given} → ${show(actual.results, actual.flags)}, QEMU ${show(expected.results, expected.flags)}`,
    );
  }
  return found;
}
