/** At least a million random instructions of each extension, and of all mixed, on our hart and on QEMU, with everything compared. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { everythingTranslated } from '../../src/cpu/translator/for-tests.ts';
import { compareUntil } from './conformance.ts';
import { SUBJECTS } from './generator.ts';
import { type HartMachine, hartMachine } from './hart-machine.ts';
import type { Machine } from './program.ts';
import { qemuUserMachine } from './qemu-user-machine.ts';
import { GCC, QEMU_USER, temporaryFolder, whyUnavailable } from './toolchain.ts';

const INSTRUCTIONS = Number(process.env.ORACLE_INSTRUCTIONS ?? 1_000_000);
const FIRST_SEED = Number(process.env.ORACLE_SEED ?? 1);

const unavailable = whyUnavailable(GCC, QEMU_USER);
if (unavailable) console.log(`random programs against QEMU ${unavailable}`);

/** Each region is compiled where it is first run, which takes most of the time: fewer of them, unless somebody says otherwise. */
const ENGINES = {
  interpreter: { instructions: INSTRUCTIONS, translation: undefined },
  translator: { instructions: Number(process.env.ORACLE_INSTRUCTIONS ?? 150_000), translation: everythingTranslated() },
} as const;

describe.skipIf(unavailable).each(Object.keys(ENGINES) as (keyof typeof ENGINES)[])(
  'random programs, %s against QEMU',
  (engine) => {
    const { instructions: wanted, translation } = ENGINES[engine];
    let folder: ReturnType<typeof temporaryFolder>;
    let qemu: Machine;
    let ours: HartMachine;
    beforeAll(async () => {
      folder = temporaryFolder();
      qemu = qemuUserMachine(folder.path);
      ours = await hartMachine(translation);
    });
    afterAll(() => folder[Symbol.dispose]());

    it.each(SUBJECTS)('%s: no difference', { timeout: 300_000 }, (subject) => {
      const { instructions, programs, differences } = compareUntil(subject, wanted, FIRST_SEED, ours, qemu);
      const replay = `node test/oracle/run.ts --extension ${subject} --seed …`;
      expect(differences.slice(0, 5), replay).toEqual([]);
      expect(instructions).toBeGreaterThanOrEqual(wanted);
      console.log(`${engine}, ${subject}: ${instructions} instructions in ${programs} programs, no difference`);
    });
  },
);
