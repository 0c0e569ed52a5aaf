import { beforeEach, describe, expect, it } from 'vitest';
import { FlatMachine } from '../../../test/oracle/flat-machine.ts';
import { encode } from '../instructions/encode-for-tests.ts';
import { OP_NAMES } from '../instructions/table.ts';
import { TRAITS } from '../instructions/traits.ts';

const BASE = 0x10000;
const SIZE = 0x40000;
const END = BASE + SIZE;
const PAGE = 4096;
const DATA = 0x30000;
const ECALL = encode('ecall');
const FENCE_I = encode('fence.i');
/** Registers in these programs. */
const [A0, A1, A2] = [10, 11, 12];

let machine: FlatMachine;
beforeEach(async () => {
  machine = await FlatMachine.create({ base: BASE, bytes: SIZE });
});

function run(at: number, code: readonly number[], budget?: number): string {
  machine.writeCode(at, code);
  machine.pc = BigInt(at);
  return machine.run(budget);
}

describe('x0', () => {
  it('stays zero whatever is written to it', () => {
    for (const op of OP_NAMES) {
      if (!TRAITS[op].writesRd) continue;
      machine.x.fill(0x30008n, 1);
      machine.f.fill(0x4000_0000_0000_0000n);
      run(BASE, [encode(op, { rd: 0, rs1: A0, rs2: A1, imm: 8 }), ECALL, ECALL]);
      expect(machine.x[0], op).toBe(0n);
    }
  });

  it('still loads, and faults', () => {
    machine.x[A0] = BigInt(END);
    expect(run(BASE, [encode('lw', { rd: 0, rs1: A0 })])).toBe('TRAP');
    expect(machine.trap).toEqual({ kind: 'load', address: BigInt(END) });
  });
});

describe('a fault', () => {
  const faulting = ['lb', 'ld', 'sb', 'sd', 'flw', 'fsd', 'lr.d', 'sc.d', 'amoadd.w', 'cbo.zero'] as const;
  it.each(faulting)('of %s changes nothing, and PC is at it', (op) => {
    machine.x[A0] = BigInt(END);
    machine.x[A1] = 77n;
    machine.f[A1] = 78n;
    machine.bytes.fill(0xee);
    const isLoadConditional = op === 'sc.d';
    if (isLoadConditional) machine.x[A0] += 4n; // it faults without a reservation only if it is misaligned
    const before = Buffer.from(machine.bytes.subarray(PAGE)).toString('latin1');
    expect(run(BASE, [encode('addi', { rd: A2, rs1: A2, imm: 1 }), encode(op, { rd: A1, rs1: A0, rs2: A1 })])).toBe('TRAP');
    expect(machine.pc).toBe(BigInt(BASE + 4));
    expect(machine.retired).toBe(1);
    expect(machine.x[A1]).toBe(77n);
    expect(machine.f[A1]).toBe(78n);
    expect(Buffer.from(machine.bytes.subarray(PAGE)).toString('latin1') === before).toBe(true);
    expect(machine.trap?.address).toBe(machine.x[A0]);
  });

  it('of a jump is at the target, and the link is written', () => {
    machine.x[A0] = 0x7fff_0000_0000_1000n;
    expect(run(BASE, [encode('jalr', { rd: A1, rs1: A0, imm: 3 })])).toBe('TRAP');
    expect(machine.trap).toEqual({ kind: 'fetch', address: 0x7fff_0000_0000_1002n });
    expect(machine.pc).toBe(0x7fff_0000_0000_1002n);
    expect(machine.x[A1]).toBe(BigInt(BASE + 4));
  });

  it('of a misaligned atomic names the address', () => {
    machine.x[A0] = BigInt(DATA + 2);
    expect(run(BASE, [encode('amoswap.w', { rd: A1, rs1: A0, rs2: A1 })])).toBe('TRAP');
    expect(machine.trap).toEqual({ kind: 'misaligned', address: BigInt(DATA + 2) });
    machine.x[A0] = BigInt(DATA); // now the page is in the TLB
    expect(run(BASE, [encode('amoswap.w', { rs1: A0 }), encode('amoswap.d', { rs1: A0, rs2: A1 }), ECALL])).toBe('ECALL');
    machine.x[A0] = BigInt(DATA + 4);
    expect(run(BASE, [encode('amoswap.d', { rd: A1, rs1: A0 })])).toBe('TRAP');
  });
});

describe('memory', () => {
  it('is accessed at any alignment, across a page end too', () => {
    for (const at of [DATA, DATA + 1, DATA + PAGE - 1, DATA + PAGE - 7, DATA + PAGE - 4]) {
      machine.x[A0] = BigInt(at);
      machine.x[A1] = 0x0102_0304_f506_0708n;
      const code = [
        encode('sd', { rs1: A0, rs2: A1 }),
        encode('ld', { rd: 5, rs1: A0 }),
        encode('lw', { rd: 6, rs1: A0 }),
        encode('lwu', { rd: 7, rs1: A0 }),
        encode('lh', { rd: 8, rs1: A0, imm: 2 }),
        ECALL,
      ];
      expect(run(BASE, code)).toBe('ECALL');
      expect(machine.x[5]).toBe(machine.x[A1]);
      expect(machine.x[6]).toBe(BigInt.asIntN(32, 0xf506_0708n));
      expect(machine.x[7]).toBe(0xf506_0708n);
      expect(machine.x[8]).toBe(BigInt.asIntN(16, 0xf506n));
    }
  });
});

describe('LR and SC', () => {
  const pair = (between: readonly number[]): bigint => {
    machine.x[A0] = BigInt(DATA);
    machine.x[A1] = 5n;
    const code = [encode('lr.w', { rd: 5, rs1: A0 }), ...between, encode('sc.w', { rd: A2, rs1: A0, rs2: A1 }), ECALL];
    expect(run(BASE, code)).toBe('ECALL');
    return machine.x[A2];
  };
  it('succeed together', () => {
    expect(pair([])).toBe(0n);
    expect(machine.bytes[DATA - BASE]).toBe(5);
  });
  it('fail when the word changed, or the address is another', () => {
    expect(pair([encode('addi', { rd: 6, imm: 9 }), encode('sw', { rs1: A0, rs2: 6 })])).toBe(1n);
    expect(machine.bytes[DATA - BASE]).toBe(9);
    expect(pair([encode('addi', { rd: A0, rs1: A0, imm: 4 })])).toBe(1n);
  });
  it('need a new LR for each SC', () => {
    expect(pair([encode('sc.w', { rd: 6, rs1: A0, rs2: A1 })])).toBe(1n);
    expect(machine.x[6]).toBe(0n);
  });
});

describe('floating point', () => {
  it('is illegal while FS is off, and makes it dirty where it writes', () => {
    for (const op of OP_NAMES.filter((name) => /^f(?!ence)/.test(name))) {
      machine.x[A0] = BigInt(DATA);
      const code = [encode(op, { rd: A1, rs1: A0, rs2: A1 }), ECALL];
      machine.fs = 0;
      expect(run(BASE, code), op).toBe('ILLEGAL');
      expect(machine.pc).toBe(BigInt(BASE));
      machine.fs = 1;
      expect(run(BASE, code), op).toBe('ECALL');
      const onlyReads = /^(fs[wd]|fclass\..|fmv\.x\..)$/.test(op);
      expect(machine.fs, op).toBe(onlyReads ? 1 : 3);
    }
  });

  it('refuses an invalid dynamic rounding mode, and only where there is a mode', () => {
    machine.frm = 5;
    expect(run(BASE, [encode('fadd.d', { rm: 7 })])).toBe('ILLEGAL');
    expect(run(BASE, [encode('fadd.d', { rm: 1 }), encode('fsgnj.d'), ECALL])).toBe('ECALL');
    expect(run(BASE, [encode('fadd.d', { rm: 5 })])).toBe('ILLEGAL');
  });

  it('reads a single that is not boxed as a NaN', () => {
    machine.f[1] = 0x3f80_0000n;
    machine.f[2] = -1n << 32n;
    run(BASE, [encode('fadd.s', { rd: 3, rs1: 1, rs2: 2 }), encode('fmv.x.w', { rd: A0, rs1: 1 }), ECALL]);
    expect(BigInt.asUintN(64, machine.f[3])).toBe(0xffff_ffff_7fc0_0000n);
    expect(machine.x[A0]).toBe(0x3f80_0000n);
  });
});

describe('pages', () => {
  const inc = encode('addi', { rd: A0, rs1: A0, imm: 1 });
  it('run into each other', () => {
    expect(run(BASE + PAGE - 8, [inc, inc, inc, ECALL])).toBe('ECALL');
    expect(machine.x[A0]).toBe(3n);
  });

  it('may share an instruction', () => {
    const end = BASE + PAGE;
    const cNop = Uint8Array.of(1, 0);
    const straddle = (word: number, rest: readonly number[]): string => {
      machine.writeCode(end - 4, cNop);
      return run(end - 2, [word, ...rest]);
    };
    expect(straddle(inc, [ECALL])).toBe('ECALL');
    expect(machine.pc).toBe(BigInt(end + 2));
    expect(straddle(encode('jal', { rd: A1, imm: 8 }), [0, ECALL])).toBe('ECALL');
    expect(machine.x[A1]).toBe(BigInt(end + 2));
    expect(straddle(encode('beq', { imm: 8 }), [0, ECALL])).toBe('ECALL');
    expect(straddle(encode('bne', { imm: 8 }), [ECALL, 0])).toBe('ECALL');
    expect(straddle(encode('auipc', { rd: A1 }), [ECALL])).toBe('ECALL');
    expect(machine.x[A1]).toBe(BigInt(end - 2));
    machine.x[A1] = 0n;
    expect(straddle(encode('lw', { rd: 5, rs1: A1 }), [ECALL])).toBe('TRAP');
    expect(machine.pc).toBe(BigInt(end - 2));
    expect(straddle(0xffff_ffff, [])).toBe('ILLEGAL');
  });

  it('end the memory', () => {
    expect(run(END - 4, [inc])).toBe('TRAP');
    expect(machine.pc).toBe(BigInt(END));
    expect(machine.retired).toBe(1);
  });
});

describe('code that writes code', () => {
  it('runs what it wrote after fence.i', () => {
    machine.x[A0] = BigInt(BASE + 12);
    machine.x[A1] = BigInt(encode('addi', { rd: A2, imm: 7 }));
    machine.x[5] = 2n; // twice, so that the second time it is decoded
    const code = [
      encode('addi', { rd: 5, rs1: 5, imm: -1 }),
      FENCE_I,
      encode('addi', { rd: 0 }),
      encode('addi', { rd: A2, imm: 1 }),
      encode('sw', { rs1: A0, rs2: A1 }),
      encode('bne', { rs1: 5, imm: -20 }),
      ECALL,
    ];
    machine.writeCode(BASE, code);
    machine.pc = BigInt(BASE);
    expect(machine.run()).toBe('ECALL');
    expect(machine.x[A2]).toBe(7n);
  });
});

describe('the budget', () => {
  it('ends a loop within a page and one over two pages, with PC to go on from', () => {
    expect(run(BASE, [encode('addi', { rd: A0, rs1: A0, imm: 1 }), encode('jal', { imm: -4 })], 100)).toBe('BUDGET');
    expect(machine.retired).toBe(102);
    expect(machine.x[A0]).toBe(51n);
    expect(machine.pc).toBe(BigInt(BASE));
    machine.writeCode(BASE, [encode('jal', { imm: PAGE })]);
    expect(run(BASE + PAGE, [encode('jal', { imm: -PAGE })], 99)).toBe('BUDGET');
    expect(machine.retired).toBe(100);
  });
});

describe('what leaves', () => {
  it.each([
    ['ecall', 'ECALL'],
    ['ebreak', 'EBREAK'],
    ['sret', 'SRET'],
    ['wfi', 'WFI'],
  ] as const)('%s leaves with PC at it, uncounted', (op, exit) => {
    expect(run(BASE, [encode('addi'), encode(op)])).toBe(exit);
    expect(machine.pc).toBe(BigInt(BASE + 4));
    expect(machine.retired).toBe(1);
  });
  it.each([0, 0xffff_ffff, 0x3020_0073, 0x0000_9002])('%#x: mret and reserved words are illegal', (word) => {
    expect(run(BASE, [word])).toBe(word === 0x9002 ? 'EBREAK' : 'ILLEGAL');
    expect(machine.pc).toBe(BigInt(BASE));
  });
  it('csr instructions count what ran before them', () => {
    run(BASE, [encode('addi'), encode('addi'), encode('csrrs', { rd: A0, imm: 0xc02 }), ECALL]);
    expect(machine.x[A0]).toBe(2n);
    expect(run(BASE, [encode('csrrw', { rd: A0, imm: 0xc02 })])).toBe('ILLEGAL');
  });
});
