/**
 * A function's code as text, for golden tests: one statement a line, operands folded into their operation. A subset of the
 * specification's text format, with offsets as `+n`.
 */
import type { Fn } from './function.ts';

const INTEGER_COMPARE = 'eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u'.split(' ');
const INTEGER_ARITHMETIC = 'clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr'.split(' ');
const MEMORY = [
  ...'i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u'.split(' '),
  ...'i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u'.split(' '),
  ...'i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32'.split(' '),
];
const UNARY = new Set(['eqz', 'clz', 'ctz', 'popcnt', 'load']);

/** Name and number of operands of the operations without immediates. */
const PLAIN = new Map<number, [name: string, operands: number]>();
const plain = (start: number, type: string, names: readonly string[]): void => {
  for (const [i, name] of names.entries()) PLAIN.set(start + i, [`${type}.${name}`, UNARY.has(name) ? 1 : 2]);
};
plain(0x45, 'i32', INTEGER_COMPARE);
plain(0x50, 'i64', INTEGER_COMPARE);
plain(0x67, 'i32', INTEGER_ARITHMETIC);
plain(0x79, 'i64', INTEGER_ARITHMETIC);
PLAIN.set(0x1b, ['select', 3]);
PLAIN.set(0xa7, ['i32.wrap', 1]);
PLAIN.set(0xac, ['i64.ext_s', 1]);
PLAIN.set(0xad, ['i64.ext_u', 1]);
PLAIN.set(0xc4, ['i64.sext32', 1]);

export interface Names {
  readonly locals: Readonly<Record<number, string>>;
  /** Name, number of operands, and whether there is a result. */
  readonly functions: Readonly<Record<number, readonly [name: string, operands: number, hasResult: boolean]>>;
}

export function toText(fn: Fn, names: Names): string {
  return new Reader(fn, names).text();
}

class Reader {
  readonly #fn: Fn;
  readonly #names: Names;
  readonly #lines: string[] = [];
  /** Values not used yet, of all open blocks: an `if` expression starts its arms on top. */
  readonly #stack: string[] = [];
  readonly #blocks: { readonly result: boolean; readonly label?: string; arms: string[] }[] = [];
  #labels = 0;
  #at = 0;

  constructor(fn: Fn, names: Names) {
    this.#fn = fn;
    this.#names = names;
  }

  text(): string {
    while (this.#at < this.#fn.code.length) this.#instruction();
    return this.#lines.join('\n');
  }

  #instruction(): void {
    const start = this.#at;
    const opcode = this.#byte();
    const known = PLAIN.get(opcode);
    if (known) this.#push(`(${[known[0], ...this.#pop(known[1])].join(' ')})`);
    else if (opcode >= 0x28 && opcode <= 0x3e) this.#memory(opcode);
    else if (opcode === 0x41 || opcode === 0x42) this.#push(String(this.#signed()));
    else if (opcode === 0x20) this.#push(this.#local());
    else if (opcode === 0x21) this.#line(`${this.#local()} = ${this.#pop(1)}`);
    else if (opcode === 0x1a) this.#line(`drop ${this.#pop(1)}`);
    else if (opcode === 0x10) this.#call();
    else if (opcode === 0x23) this.#push(`global${this.#unsigned()}`);
    else if (opcode === 0x00) this.#line('unreachable');
    else if (opcode === 0x13) this.#tailCall();
    else this.#control(opcode, this.#fn.hints.find(([offset]) => offset === start)?.[1]);
  }

  #control(opcode: number, hint: number | undefined): void {
    const note = hint === undefined ? '' : hint === 1 ? ' likely' : ' unlikely';
    if (opcode === 0x02 || opcode === 0x03) {
      this.#byte();
      const label = `L${++this.#labels}`;
      this.#line(`${opcode === 0x02 ? 'block' : 'loop'} ${label}`);
      this.#blocks.push({ result: false, label, arms: [] });
      return;
    }
    if (opcode === 0x0c || opcode === 0x0d) {
      const label = this.#blocks.at(-1 - this.#unsigned())?.label;
      this.#line(opcode === 0x0c ? `br ${label}` : `br_if${note} ${label} ${this.#pop(1)}`);
      return;
    }
    if (opcode === 0x04) {
      const result = this.#byte() !== 0x40;
      const [condition] = this.#pop(1);
      if (!result) this.#line(`if${note} ${condition}`);
      this.#blocks.push({ result, arms: result ? [condition] : [] });
      return;
    }
    const block = this.#blocks.at(-1);
    if (!block || (opcode !== 0x05 && opcode !== 0x0b)) throw new Error(`no text for opcode ${opcode.toString(16)}`);
    if (block.result) block.arms.push(...this.#pop(1));
    if (opcode === 0x05) {
      if (!block.result) this.#line('else', -1);
      return;
    }
    this.#blocks.pop();
    if (block.result) this.#push(`(when ${block.arms.join(' ')})`);
    else this.#line('end');
  }

  #memory(opcode: number): void {
    const name = MEMORY[opcode - 0x28];
    this.#byte();
    const offset = this.#unsigned();
    const target = offset === 0 ? name : `${name} +0x${offset.toString(16)}`;
    if (opcode < 0x36) this.#push(`(${[target, ...this.#pop(1)].join(' ')})`);
    else this.#line([target, ...this.#pop(2)].join(' '));
  }

  #call(): void {
    const [name, operands, hasResult] = this.#names.functions[this.#unsigned()];
    const text = [name, ...this.#pop(operands)].join(' ');
    if (hasResult) this.#push(`(${text})`);
    else this.#line(text);
  }

  /** Through the table; all that there is on the stack are its operands. */
  #tailCall(): void {
    this.#unsigned();
    this.#unsigned();
    this.#line(`return_call_indirect ${this.#pop(this.#stack.length).join(' ')}`);
  }

  #line(text: string, indent = 0): void {
    const depth = this.#blocks.filter(({ result }) => !result).length + indent;
    this.#lines.push('  '.repeat(depth) + text);
  }
  #push(text: string): void {
    this.#stack.push(text);
  }
  #pop(count: number): string[] {
    return this.#stack.splice(this.#stack.length - count, count);
  }
  #local(): string {
    const index = this.#unsigned();
    return this.#names.locals[index] ?? `$${index}`;
  }
  #byte(): number {
    return this.#fn.code[this.#at++];
  }
  #unsigned(): number {
    return Number(this.#leb(false));
  }
  #signed(): bigint {
    return this.#leb(true);
  }
  #leb(signed: boolean): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return signed ? BigInt.asIntN(Number(shift) + 7, value) : value;
    }
  }
}
