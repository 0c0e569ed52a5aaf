import { describe, expect, it } from 'vitest';
import { encode } from '../instructions/encode-for-tests.ts';
import { RegionLibrary } from './library.ts';
import type { RegionRequest } from './service.ts';

const code = (...words: readonly number[]): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(4096);
  new Uint32Array(bytes.buffer).set(words);
  return bytes;
};
const ADD = encode('addi', { rd: 10, rs1: 10, imm: 1 });
const ECALL = encode('ecall');
let id = 0;
const request = (extra: Partial<RegionRequest> = {}): RegionRequest => ({
  id: id++,
  domain: 0,
  hash: 1,
  code: code(ADD, ADD, ECALL),
  entry: 0,
  vm: 1,
  ahead: false,
  ...extra,
});

describe('regions that are known', () => {
  it('who asks for the same content has the same module, whoever asked first', () => {
    const library = new RegionLibrary();
    const [first] = library.translate([request()]);
    const [again, other] = library.translate([request(), request({ entry: 4 })]);
    expect(again?.module).toBe(first?.module);
    expect([again?.moduleId, again?.name]).toEqual([first?.moduleId, first?.name]);
    expect(other?.module).not.toBe(first?.module);
    expect([library.regions, library.hits]).toEqual([2, 1]);
  });

  it('bytes are compared, and domains kept apart', () => {
    const library = new RegionLibrary();
    const asked = [request(), request({ code: code(ADD, ECALL) }), request({ domain: 1 })];
    const modules = asked.flatMap((each) => library.translate([each])).map(({ module }) => module);
    expect(new Set(modules).size).toBe(3);
    expect(library.hits).toBe(0);
  });

  it('the oldest go when there is too much, and are made anew when they are asked for', () => {
    const library = new RegionLibrary(20_000);
    for (let hash = 0; hash < 20; hash++) library.translate([request({ hash })]);
    expect(library.bytes).toBeLessThanOrEqual(20_000);
    library.translate([request({ hash: 19 }), request({ hash: 0 })]);
    expect([library.regions, library.hits]).toEqual([21, 1]);
  });

  it('what two ask for together is made once, for the first of them', () => {
    const library = new RegionLibrary();
    const before = library.bytes;
    const [first, second] = library.translate([request({ vm: 1 }), request({ vm: 2 })]);
    expect([first?.vm, second?.vm, second?.name]).toEqual([1, 1, first?.name]);
    expect(library.bytes - before).toBe(4096 + (first?.bytes ?? 0));
    expect([library.regions, library.hits]).toEqual([1, 1]);
  });

  it('a region says how much guest code is in it', () => {
    const [whole, tail] = new RegionLibrary().translate([request(), request({ entry: 4 })]);
    expect([whole?.codeBytes, tail?.codeBytes]).toEqual([12, 8]);
  });

  it('code in which nothing can be translated counts, too', () => {
    const library = new RegionLibrary(20_000);
    for (let hash = 0; hash < 20; hash++) library.translate([request({ hash, code: code(ECALL) })]);
    expect(library.bytes).toBeLessThanOrEqual(20_000);
  });

  it('what is asked for together is one module, and what cannot be translated is none', () => {
    const library = new RegionLibrary();
    const answers = library.translate([request(), request({ entry: 4 }), request({ entry: 8 })]);
    expect(answers.map(({ name, module }) => module && name)).toEqual(['r0', 'r1', null]);
    expect(answers[0]?.module).toBe(answers[1]?.module);
  });
});
