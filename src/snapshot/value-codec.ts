/**
 * States of devices as bytes, and back: what `structuredClone` takes of plain data (numbers, text, arrays, objects, maps, sets, typed arrays), the
 * same bytes for the same value whatever the order of an object's keys. Not V8's own format, which is not canonical and not ours to version.
 */
import { ShoalError } from '../base/errors.ts';
import { badSnapshot } from './failure.ts';

const TAG = {
  undefined: 0,
  null: 1,
  true: 2,
  false: 3,
  number: 4,
  float: 5,
  bigint: 6,
  text: 7,
  array: 8,
  object: 9,
  map: 10,
  set: 11,
  bytes: 12,
} as const;

const ARRAYS = [
  Uint8Array,
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
] as const;
/** In place of a number of `ARRAYS`: a bare buffer. */
const BUFFER = 255;
const DEPTH_MAX = 64;

/** @throws ShoalError `bad-argument` for what is no plain data: functions, instances of classes, cycles */
export function encodeValue(value: unknown): Buffer {
  const output = new Output();
  put(output, value, 0);
  return output.taken();
}

/** @throws ShoalError `bad-snapshot` for bytes that `encodeValue` did not write */
export function decodeValue(bytes: Uint8Array): unknown {
  const input = new Input(bytes);
  const value = take(input, 0);
  if (!input.atEnd) throw damaged();
  return value;
}

function put(output: Output, value: unknown, depth: number): void {
  if (depth > DEPTH_MAX)
    throw new ShoalError('bad-argument', 'A state that is saved may not be a cycle, nor deeper than 64 levels.');
  if (value === undefined) output.byte(TAG.undefined);
  else if (value === null) output.byte(TAG.null);
  else if (typeof value === 'boolean') output.byte(value ? TAG.true : TAG.false);
  else if (typeof value === 'number') putNumber(output, value);
  else if (typeof value === 'bigint') putText(output, TAG.bigint, value.toString(16));
  else if (typeof value === 'string') putText(output, TAG.text, value);
  else if (typeof value === 'object') putObject(output, value, depth + 1);
  else throw notPlain(typeof value);
}

function putNumber(output: Output, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0)) {
    output.byte(TAG.number);
    output.length(value);
    return;
  }
  output.byte(TAG.float);
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  output.bytes(bytes);
}

function putText(output: Output, tag: number, text: string): void {
  // Two bytes a unit where it is no well-formed text, so that nothing is replaced.
  const wellFormed = text.isWellFormed();
  const bytes = Buffer.from(text, wellFormed ? 'utf8' : 'utf16le');
  output.byte(tag);
  output.length(bytes.length * 2 + (wellFormed ? 0 : 1));
  output.bytes(bytes);
}

function putObject(output: Output, value: object, depth: number): void {
  if (Array.isArray(value)) {
    output.byte(TAG.array);
    output.length(value.length);
    for (let at = 0; at < value.length; at++) put(output, value[at], depth);
  } else if (value instanceof Map) {
    output.byte(TAG.map);
    output.length(value.size);
    for (const [key, one] of value) {
      put(output, key, depth);
      put(output, one, depth);
    }
  } else if (value instanceof Set) {
    output.byte(TAG.set);
    output.length(value.size);
    for (const one of value) put(output, one, depth);
  } else if (ArrayBuffer.isView(value)) {
    const kind = ARRAYS.findIndex((type) => value instanceof type);
    if (kind < 0) throw notPlain('a data view');
    putBytes(output, kind, new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  } else if (value instanceof ArrayBuffer) {
    putBytes(output, BUFFER, new Uint8Array(value));
  } else {
    const prototype = Object.getPrototypeOf(value) as unknown;
    if (prototype !== null && prototype !== Object.prototype) throw notPlain('an instance of a class');
    const keys = Object.keys(value).sort();
    output.byte(TAG.object);
    output.length(keys.length);
    for (const key of keys) {
      putText(output, TAG.text, key);
      put(output, (value as Record<string, unknown>)[key], depth);
    }
  }
}

function putBytes(output: Output, kind: number, bytes: Uint8Array): void {
  output.byte(TAG.bytes);
  output.byte(kind);
  output.length(bytes.length);
  output.bytes(bytes);
}

function take(input: Input, depth: number): unknown {
  if (depth > DEPTH_MAX) throw damaged();
  const tag = input.byte();
  switch (tag) {
    case TAG.undefined:
      return undefined;
    case TAG.null:
      return null;
    case TAG.true:
      return true;
    case TAG.false:
      return false;
    case TAG.number:
      return input.length();
    case TAG.float:
      return input.bytes(8).readDoubleLE();
    case TAG.bigint:
      return takeBigInt(takeText(input));
    case TAG.text:
      return takeText(input);
    case TAG.array:
      return Array.from({ length: input.count() }, () => take(input, depth + 1));
    case TAG.map:
      return new Map(Array.from({ length: input.count() }, () => [take(input, depth + 1), take(input, depth + 1)]));
    case TAG.set:
      return new Set(Array.from({ length: input.count() }, () => take(input, depth + 1)));
    case TAG.object:
      return Object.fromEntries(Array.from({ length: input.count() }, () => [takeKey(input), take(input, depth + 1)]));
    case TAG.bytes:
      return takeBytes(input);
    default:
      throw damaged();
  }
}

function takeKey(input: Input): string {
  if (input.byte() !== TAG.text) throw damaged();
  return takeText(input);
}

function takeText(input: Input): string {
  const length = input.length();
  return input.bytes(Math.floor(length / 2)).toString(length % 2 === 0 ? 'utf8' : 'utf16le');
}

function takeBigInt(text: string): bigint {
  if (!/^-?[0-9a-f]+$/.test(text)) throw damaged();
  return text.startsWith('-') ? -BigInt(`0x${text.slice(1)}`) : BigInt(`0x${text}`);
}

function takeBytes(input: Input): unknown {
  const kind = input.byte();
  const bytes = Uint8Array.from(input.bytes(input.length()));
  if (kind === BUFFER) return bytes.buffer;
  const type = ARRAYS[kind];
  if (type === undefined || bytes.length % type.BYTES_PER_ELEMENT !== 0) throw damaged();
  return new type(bytes.buffer);
}

class Output {
  #buffer = Buffer.alloc(1024);
  #used = 0;

  byte(value: number): void {
    this.#room(1)[this.#used++] = value;
  }

  bytes(value: Uint8Array): void {
    this.#room(value.length).set(value, this.#used);
    this.#used += value.length;
  }

  /** A whole number below 2^53, seven bits a byte. */
  length(value: number): void {
    for (let rest = value; ; rest = Math.floor(rest / 128)) {
      this.byte(rest < 128 ? rest : (rest % 128) + 128);
      if (rest < 128) return;
    }
  }

  taken(): Buffer {
    return this.#buffer.subarray(0, this.#used);
  }

  #room(bytes: number): Buffer {
    const needed = this.#used + bytes;
    if (needed > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(needed, this.#buffer.length * 2));
      larger.set(this.taken());
      this.#buffer = larger;
    }
    return this.#buffer;
  }
}

class Input {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get atEnd(): boolean {
    return this.#at === this.#buffer.length;
  }

  byte(): number {
    if (this.atEnd) throw damaged();
    return this.#buffer[this.#at++];
  }

  bytes(count: number): Buffer {
    if (count > this.#buffer.length - this.#at) throw damaged();
    return this.#buffer.subarray(this.#at, (this.#at += count));
  }

  length(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 56; factor *= 128) {
      const byte = this.byte();
      value += (byte % 128) * factor;
      if (byte < 128 && value <= Number.MAX_SAFE_INTEGER) return value;
    }
    throw damaged();
  }

  /** Of things that take at least one byte each. */
  count(): number {
    const count = this.length();
    if (count > this.#buffer.length - this.#at) throw damaged();
    return count;
  }
}

const damaged = (): ShoalError => badSnapshot('The saved states are damaged: they are not what was written.');
const notPlain = (what: string): ShoalError =>
  new ShoalError('bad-argument', `A state that is saved may only be plain data, and this holds ${what}.`);
