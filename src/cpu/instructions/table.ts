/** All instructions of RV64GC, Zicsr, Zifencei, Zicboz and supervisor mode, by their assembler names. Compressed ones are in compressed.ts. */
import { ATOMIC } from './atomic.ts';
import type { Definition } from './definition.ts';
import { FLOAT } from './float.ts';
import { INTEGER } from './integer.ts';
import { MULTIPLY } from './multiply.ts';
import { SYSTEM } from './system.ts';

const TABLE = { ...INTEGER, ...MULTIPLY, ...ATOMIC, ...FLOAT, ...SYSTEM };

export type OpName = keyof typeof TABLE;
export const INSTRUCTIONS: Readonly<Record<OpName, Definition>> = TABLE;
export const OP_NAMES = Object.keys(TABLE) as OpName[];
