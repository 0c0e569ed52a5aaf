import { expect, test } from 'vitest';
import { moduleDependencies, slimModule } from './kernel-module.ts';

interface TestSection {
  readonly name: string;
  readonly type: number;
  readonly flags?: number;
  readonly content: Buffer;
  readonly link?: number;
  readonly info?: number;
}

/** A small relocatable ELF file for RISC-V (ELF-64 object file format 1.5). */
function elf(sections: readonly TestSection[]): Buffer {
  const all: TestSection[] = [{ name: '', type: 0, content: Buffer.alloc(0) }, ...sections];
  const names = Buffer.from(`${all.map((section) => section.name).join('\0')}\0.shstrtab\0`);
  all.push({ name: '.shstrtab', type: 3, content: names });
  const header = Buffer.alloc(64);
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(header);
  header.writeUInt16LE(243, 18);
  const table = Buffer.alloc(64 * all.length);
  let end = 64;
  for (const [at, { name, type, flags, content, link, info }] of all.entries()) {
    table.writeUInt32LE(at === 0 ? 0 : names.indexOf(`\0${name}\0`) + 1, at * 64);
    table.writeUInt32LE(type, at * 64 + 4);
    table.writeBigUInt64LE(BigInt(flags ?? 0), at * 64 + 8);
    table.writeBigUInt64LE(BigInt(end), at * 64 + 24);
    table.writeBigUInt64LE(BigInt(content.length), at * 64 + 32);
    table.writeUInt32LE(link ?? 0, at * 64 + 40);
    table.writeUInt32LE(info ?? 0, at * 64 + 44);
    table.writeBigUInt64LE(1n, at * 64 + 48);
    end += content.length;
  }
  header.writeBigUInt64LE(BigInt(end), 40);
  header.writeUInt16LE(all.length, 60);
  header.writeUInt16LE(all.length - 1, 62);
  return Buffer.concat([header, ...all.map((section) => section.content), table]);
}

function symbol(name: number, section: number, value: number): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeUInt32LE(name, 0);
  bytes.writeUInt16LE(section, 6);
  bytes.writeBigUInt64LE(BigInt(value), 8);
  return bytes;
}

function relocation(offset: number, symbolIndex: number): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeBigUInt64LE(BigInt(offset), 0);
  bytes.writeUInt32LE(19, 8);
  bytes.writeUInt32LE(symbolIndex, 12);
  return bytes;
}

/** Symbols: 0 none, 1 `.L1` used, 2 `.L2` unused, 3 `helper` unused, 4 `printk` undefined (the first global one). */
const STRINGS = Buffer.from('\0.L1\0.L2\0helper\0printk\0');
const module = elf([
  { name: '.text', type: 1, flags: 6, content: Buffer.from('code of it') },
  { name: '.rela.text', type: 4, content: Buffer.concat([relocation(0, 4), relocation(4, 1)]), link: 6, info: 1 },
  { name: '.modinfo', type: 1, flags: 2, content: Buffer.from('license=GPL\0depends=jbd2,crc-16\0name=x\0') },
  { name: '.BTF', type: 1, content: Buffer.from('types') },
  { name: '.rela.BTF', type: 4, content: relocation(0, 3), link: 6, info: 4 },
  {
    name: '.symtab',
    type: 2,
    content: Buffer.concat([symbol(0, 0, 0), symbol(1, 1, 4), symbol(5, 1, 8), symbol(9, 1, 0), symbol(16, 0, 0)]),
    link: 7,
    info: 4,
  },
  { name: '.strtab', type: 3, content: STRINGS },
]);

function signed(bytes: Buffer): Buffer {
  const signature = Buffer.from('a signature');
  const trailer = Buffer.alloc(12);
  trailer.writeUInt32BE(signature.length, 8);
  return Buffer.concat([bytes, signature, trailer, Buffer.from('~Module signature appended~\n')]);
}

/** Content of a section by its index, and its type. */
function section(image: Buffer, index: number): { type: number; content: Buffer; info: number } {
  const at = Number(image.readBigUInt64LE(40)) + index * 64;
  const offset = Number(image.readBigUInt64LE(at + 24));
  const content = image.subarray(offset, offset + Number(image.readBigUInt64LE(at + 32)));
  return { type: image.readUInt32LE(at + 4), content, info: image.readUInt32LE(at + 44) };
}

test('signature, type information and unused symbols go; what is loaded stays', () => {
  const slim = slimModule(signed(module));
  expect(slim.includes('signature')).toBe(false);
  expect(section(slim, 1).content.toString()).toBe('code of it');
  expect(section(slim, 4)).toMatchObject({ type: 0, content: Buffer.alloc(0) });
  expect(section(slim, 5).type).toBe(0);
  const symbols = section(slim, 6);
  expect(symbols.content.length).toBe(3 * 24);
  expect(symbols.info).toBe(2);
  // The label keeps its value and loses its name; the undefined symbol keeps its name.
  expect(symbols.content.readUInt32LE(24)).toBe(0);
  expect(symbols.content.readBigUInt64LE(24 + 8)).toBe(4n);
  const names = section(slim, 7).content;
  expect(names.toString('latin1', symbols.content.readUInt32LE(48), names.length)).toBe('printk\0');
  const relocations = section(slim, 2).content;
  expect([relocations.readUInt32LE(12), relocations.readUInt32LE(24 + 12)]).toEqual([2, 1]);
});

test('making it slim twice changes nothing more', () => {
  const once = slimModule(module);
  expect(slimModule(once)).toEqual(once);
});

test('dependencies are read', () => {
  expect(moduleDependencies(module)).toEqual(['jbd2', 'crc-16']);
  expect(moduleDependencies(slimModule(module))).toEqual(['jbd2', 'crc-16']);
});

test('another architecture, no ELF file and a truncated one are refused', () => {
  const other = Buffer.from(module);
  other.writeUInt16LE(62, 18);
  expect(() => slimModule(other)).toThrow(/RISC-V/);
  expect(() => slimModule(Buffer.from('hello'))).toThrow(/ELF/);
  expect(() => slimModule(module.subarray(0, module.length - 10))).toThrow(/truncated/);
});
