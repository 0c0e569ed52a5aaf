/** What is an instruction and what is reserved, against QEMU; and that the generator knows every instruction there is. */
import { describe, expect, it } from 'vitest';
import { decode } from '../../src/cpu/instructions/decode.ts';
import { OP_NAMES } from '../../src/cpu/instructions/table.ts';
import { randomProgram, SUBJECTS } from './generator.ts';
import { hartMachine } from './hart-machine.ts';
import { compressedWords, disagreements, fullWord } from './legality.ts';
import { qemuUserMachine } from './qemu-user-machine.ts';
import { Random } from './random.ts';
import { GCC, QEMU_USER, temporaryFolder, whyUnavailable } from './toolchain.ts';

const SEED = Number(process.env.ORACLE_SEED ?? 20261123);
const FULL_WORDS = 40_000;
const PROGRAMS_EACH = 100;

const unavailable = whyUnavailable(GCC, QEMU_USER);
if (unavailable) console.log(`legality against QEMU ${unavailable}`);

describe.skipIf(unavailable)('legality against QEMU', () => {
  it('agrees on every compressed and on random full encodings', { timeout: 120_000 }, async () => {
    using folder = temporaryFolder();
    const qemu = qemuUserMachine(folder.path);
    const ours = await hartMachine();
    const random = new Random(SEED);
    const words = [...compressedWords(), ...Array.from({ length: FULL_WORDS }, () => fullWord(random))];
    expect(disagreements(words, ours, qemu), `seed ${SEED}`).toEqual([]);
  });
});

describe('the generator of random programs', () => {
  /** The supervisor's, whose effects are compared elsewhere, and what QEMU 7.2 does not have. */
  const elsewhere = ['ecall', 'sret', 'wfi', 'sfence.vma', 'cbo.zero'];

  it('uses every instruction of the table', () => {
    const seen = new Set<string>();
    for (const subject of SUBJECTS) {
      for (let seed = 1; seed <= PROGRAMS_EACH; seed++) {
        const { code } = randomProgram(subject, seed);
        const view = new DataView(code.buffer);
        for (let at = 0; at < code.length; ) {
          const instruction = decode((view.getUint16(at, true) & 3) === 3 ? view.getUint32(at, true) : view.getUint16(at, true));
          if (instruction) seen.add(instruction.op);
          at += (code[at] & 3) === 3 ? 4 : 2;
        }
      }
    }
    expect(OP_NAMES.filter((name) => !seen.has(name) && !elsewhere.includes(name))).toEqual([]);
  });
});
