/**
 * The floating-point instructions as a table, and two machines that run them over arrays of operands: QEMU, and the
 * generated WebAssembly. A test compares what the two leave behind.
 */
import { spawnSync } from 'node:child_process';
import { addFloatFunctions, type FloatFunctions } from '../../src/cpu/float/functions.ts';
import { FFLAGS } from '../../src/layout/thread-block.ts';
import { type Callee, call, type I64, i32, i64, Mod } from '../../src/wasm/index.ts';
import { compileStatic, QEMU_USER } from './toolchain.ts';

/** What a register holds: a double, a single (its bits in the low word), an integer. */
export type Kind = 'd' | 's' | 'x';
export interface FloatOperation {
  readonly name: string;
  readonly operands: readonly Kind[];
  readonly result: Kind;
  readonly rounds: boolean;
  readonly select: (f: FloatFunctions) => Callee<'i64'>;
}

function operationsOf(k: 's' | 'd'): FloatOperation[] {
  const operation = (name: string, operands: Kind[], result: Kind, rounds: boolean, select: FloatOperation['select']) => ({
    name: `${name}.${k}`,
    operands,
    result,
    rounds,
    select,
  });
  const integers = ['w', 'wu', 'l', 'lu'] as const;
  return [
    operation('fadd', [k, k], k, true, (f) => f.add[k]),
    operation('fsub', [k, k], k, true, (f) => f.sub[k]),
    operation('fmul', [k, k], k, true, (f) => f.mul[k]),
    operation('fdiv', [k, k], k, true, (f) => f.div[k]),
    operation('fsqrt', [k], k, true, (f) => f.sqrt[k]),
    operation('fmadd', [k, k, k], k, true, (f) => f.mulAdd[k]),
    operation('fmin', [k, k], k, false, (f) => f.min[k]),
    operation('fmax', [k, k], k, false, (f) => f.max[k]),
    operation('feq', [k, k], 'x', false, (f) => f.eq[k]),
    operation('flt', [k, k], 'x', false, (f) => f.lt[k]),
    operation('fle', [k, k], 'x', false, (f) => f.le[k]),
    operation('fclass', [k], 'x', false, (f) => f.classify[k]),
    ...integers.map((i) => ({ ...operation('', [k], 'x', true, (f) => f.toInt[i][k]), name: `fcvt.${i}.${k}` })),
    ...integers.map((i) => ({
      ...operation('', ['x'], k, k === 's' || i.startsWith('l'), (f) => f.fromInt[i][k]),
      name: `fcvt.${k}.${i}`,
    })),
  ];
}

export const FLOAT_OPERATIONS: readonly FloatOperation[] = [
  ...operationsOf('s'),
  ...operationsOf('d'),
  { name: 'fcvt.s.d', operands: ['d'], result: 's', rounds: true, select: (f) => f.narrow },
  { name: 'fcvt.d.s', operands: ['s'], result: 'd', rounds: false, select: (f) => f.widen },
];

/** Three 64-bit operands for each case; what an operation does not take is ignored. */
export const CASE_BYTES = 24;
export const ROUNDING_MODES = 5;
/** The flags before each case: none, and NX, which opens the short way through the engine's own arithmetic. */
export const FLAGS_BEFORE = [0, 1] as const;

/** Results, 8 bytes each, and the flags after each case, for one rounding mode and one set of flags before. */
export interface Outcome {
  readonly results: BigUint64Array;
  readonly flags: Uint8Array;
}
export type FloatMachine = (operation: number, cases: Uint8Array, mode: number, flagsBefore: number) => Outcome;

/** Move a register from and to memory; f registers carry a single by its low word. */
const LOAD: Record<Kind, (register: number, offset: number) => string> = {
  d: (r, o) => `fld f${r},${o}(%0)`,
  s: (r, o) => `flw f${r},${o}(%0)`,
  x: (r, o) => `ld x${r},${o}(%0)`,
};
const STORE: Record<Kind, string> = {
  d: 'fsd f0,0(%1)',
  s: 'fsw f0,0(%1); sw x0,4(%1)',
  x: 'sd x5,0(%1)',
};

function referenceSource(): string {
  const cases = FLOAT_OPERATIONS.map(({ name, operands, result }, i) => {
    // t1 is x6, t2 x7, t3 x28: sources; t0 is x5: the flags, and an integer result.
    const source = operands.map((kind, n) => LOAD[kind](kind === 'x' ? 6 : n + 1, 8 * n));
    const names = operands.map((kind, n) => (kind === 'x' ? 'x6' : `f${n + 1}`));
    const target = result === 'x' ? 'x5' : 'f0';
    const text = [
      ...source,
      'fsflags x0,%3',
      `${name} ${[target, ...names].join(',')}`,
      STORE[result],
      'frflags x7',
      'sb x7,0(%2)',
    ];
    return `case ${i}: for (; n; n--, in += 24, out += 8, flags++)
      __asm__ volatile("${text.join('; ')}" : : "r"(in), "r"(out), "r"(flags), "r"(before) : "x5","x6","x7","f0","f1","f2","f3","memory"); break;`;
  });
  return `#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
static void all(int fd, char *p, size_t n, int w) {
  while (n) { ssize_t k = w ? write(fd, p, n) : read(fd, p, n); if (k <= 0) exit(1); p += k; n -= k; }
}
int main(void) {
  uint32_t header[4];
  all(0, (char *)header, 16, 0);
  size_t total = header[3];
  char *data = malloc(total * 24), *results = malloc(total * 9);
  all(0, data, total * 24, 0);
  char *in = data, *out = results, *flags = results + total * 8;
  uint64_t before = header[2]; size_t n = total;
  __asm__ volatile("fsrm %0" : : "r"((uint64_t)header[1]));
  switch (header[0]) {
    ${cases.join('\n    ')}
  }
  all(1, results, total * 9, 1);
  return 0;
}
`;
}

/** QEMU's user-mode emulator, one process for each call. */
export function qemuFloatMachine(folder: string): FloatMachine {
  const program = compileStatic(folder, 'float', referenceSource());
  return (operation, cases, mode, flagsBefore) => {
    const count = cases.length / CASE_BYTES;
    const header = new Uint8Array(new Uint32Array([operation, mode, flagsBefore, count]).buffer);
    const run = spawnSync(QEMU_USER, [program], { input: Buffer.concat([header, cases]), maxBuffer: 2 ** 30 });
    if (run.status !== 0) throw new Error(`${QEMU_USER} failed on ${FLOAT_OPERATIONS[operation].name}: ${run.stderr}`);
    return outcome(new Uint8Array(run.stdout), 0, count);
  };
}

const outcome = (bytes: Uint8Array, start: number, count: number): Outcome => {
  const copy = bytes.slice(start, start + count * 9);
  return { results: new BigUint64Array(copy.buffer, 0, count), flags: copy.subarray(count * 8) };
};

const BLOCK = 0;
const INPUT = 0x1_0000;

/** The generated functions, each in a loop over the cases so that the loop is WebAssembly as well. */
export function wasmFloatMachine(caseCountMax: number): FloatMachine {
  const outputStart = INPUT + caseCountMax * CASE_BYTES;
  const pages = Math.ceil((outputStart + caseCountMax * 9) / 65536);
  const m = new Mod();
  m.importMemory(pages, pages, false);
  const functions = addFloatFunctions(m, BLOCK);
  FLOAT_OPERATIONS.forEach((operation, i) => {
    addLoop(m, `f${i}`, operation, operation.select(functions), outputStart);
  });
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(m.build()), { e: { m: memory } });
  const bytes = new Uint8Array(memory.buffer);
  return (operation, cases, mode, flagsBefore) => {
    const count = cases.length / CASE_BYTES;
    bytes.set(cases, INPUT);
    (instance.exports[`f${operation}`] as (count: number, mode: number, flagsBefore: number) => void)(count, mode, flagsBefore);
    return outcome(bytes, outputStart, count);
  };
}

function addLoop(m: Mod, name: string, operation: FloatOperation, callee: Callee<'i64'>, output: number): void {
  const f = m.fn(['i32', 'i32', 'i32'], null, name);
  const count = f.param<'i32'>(0);
  const n = f.local('i32');
  const takesMode = operation.rounds || /^fcvt\.[sd]\.(w|l)/.test(operation.name);
  f.loop((again) => {
    f.store(i32.store, 0, f.param<'i32'>(2), BLOCK + FFLAGS);
    const at = i32.mul(n, CASE_BYTES);
    const operands: I64[] = operation.operands.map((_, k) => i64.load(at, INPUT + 8 * k));
    const result = call(callee, ...operands, ...(takesMode ? [f.param<'i32'>(1)] : []));
    f.store(i64.store, i32.mul(n, 8), result, output);
    f.store(i32.store8, i32.add(i32.mul(count, 8), n), i32.load(0, BLOCK + FFLAGS), output);
    f.set(n, i32.add(n, 1));
    f.brIf(again, i32.lt_u(n, count));
  });
}
