import { expect, it } from 'vitest';
import { FlatMachine } from '../../../test/oracle/flat-machine.ts';
import { expandCompressed } from '../instructions/compressed.ts';
import type { Instruction } from '../instructions/decode.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import type { OpName } from '../instructions/table.ts';
import { FUSED_PAIRS } from './fusion.ts';

const BASE = 0x10000;
const SIZE = 0x20000;
const DATA = 0x20000;
const DATA_BYTES = 8192;
const ROUNDS = 30;

/** All compressed encodings, by what they expand to and whether rd is x0. */
const COMPRESSED = new Map<string, number[]>();
for (let halfword = 0; halfword < 65536; halfword++) {
  const expansion = (halfword & 3) === 3 ? undefined : expandCompressed(halfword);
  if (!expansion) continue;
  const key = expansion.rd === 0 ? `c.${expansion.op},x0` : `c.${expansion.op}`;
  COMPRESSED.set(key, [...(COMPRESSED.get(key) ?? []), halfword]);
}
const WITHOUT_RD = /^c\.(s[bhwd]|fs[wd]|b\w+)$/;

let state = 12345;
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

/** The bytes of a random instruction of this variant. */
function instance(variant: string): number[] {
  if (variant.startsWith('c.')) {
    const encodings = COMPRESSED.get(WITHOUT_RD.test(variant) ? `${variant},x0` : variant) ?? [];
    expect(encodings.length, variant).toBeGreaterThan(0);
    const halfword = encodings[random(encodings.length)];
    return [halfword & 255, halfword >> 8];
  }
  const [op, ...modifiers] = variant.split(',');
  const operands: Partial<Instruction> = {
    rd: modifiers.includes('x0') ? 0 : 1 + random(31),
    rs1: random(32),
    rs2: random(32),
    imm: op === 'auipc' ? random(4) << 12 : op.startsWith('s') && /i/.test(op) ? random(32) : random(1024) * 2 - 1024,
  };
  const word = encode(op as OpName, operands);
  return [word & 255, (word >> 8) & 255, (word >> 16) & 255, word >>> 24];
}

it('a fused pair does what its two instructions do, in every respect', async () => {
  const fused = await FlatMachine.create({ base: BASE, bytes: SIZE });
  const plain = await FlatMachine.create({ base: BASE, bytes: SIZE, fusedPairs: [] });
  for (const pair of FUSED_PAIRS) {
    for (let round = 0; round < ROUNDS; round++) {
      const code = Uint8Array.from([...pair.split('+').flatMap(instance), 0x73, 0, 0, 0]);
      const registers = Array.from({ length: 32 }, () => BigInt(random(8) === 0 ? random(100) : DATA + 1024 + random(4096)));
      const budget = random(3);
      const outcomes = [fused, plain].map((machine) => {
        machine.writeCode(BASE + 2048, code);
        machine.bytes.fill(round, DATA - BASE, DATA - BASE + DATA_BYTES);
        registers.forEach((value, i) => {
          machine.x[i] = i === 0 ? 0n : value;
        });
        machine.pc = BigInt(BASE + 2048);
        const exit = machine.run(budget);
        const data = Buffer.from(machine.bytes.subarray(DATA - BASE, DATA - BASE + DATA_BYTES)).toString('latin1');
        const { pc, retired, trap } = machine;
        return { pair, code: Buffer.from(code).toString('hex'), exit, pc, retired, trap, x: [...machine.x], data };
      });
      expect(outcomes[0]).toEqual(outcomes[1]);
    }
  }
});
