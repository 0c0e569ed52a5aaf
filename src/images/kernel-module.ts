/**
 * Makes a Debian kernel module cheap to load, and reads what it depends on.
 *
 * A distribution's module carries a signature (checked with RSA at each load), type information, and on RISC-V tens of
 * thousands of assembler labels: the linker relaxation needs them, the kernel does not. ext4 shrinks from 7.0 to 1.6 MB, and
 * loading it costs a guest a tenth. Removing the signature taints the kernel ("E"), which is harmless here.
 *
 * Not an ELF library: it knows 64-bit little-endian relocatable objects, and gives any other file back unchanged or refuses it.
 * Layouts: System V ABI, chapters 4 and 5 (ELF-64 object file format 1.5).
 */
import { ShoalError } from '../base/errors.ts';

const SIGNATURE_MAGIC = '~Module signature appended~\n';
/** struct module_signature: three bytes, pad, then the length of the signature as a big-endian word. */
const SIGNATURE_TRAILER_BYTES = 12;

const HEADER_BYTES = 64;
const SECTION_BYTES = 64;
const SYMBOL_BYTES = 24;
const RELOCATION_BYTES = 24;
const SHT_NULL = 0;
const SHT_SYMTAB = 2;
const SHT_RELA = 4;
const SHT_NOBITS = 8;
const SHF_ALLOC = 2n;
const ELF_MACHINE_RISCV = 243;

interface Section {
  readonly index: number;
  readonly name: string;
  type: number;
  readonly flags: bigint;
  content: Buffer;
  /** Size in memory; differs from `content.length` only for SHT_NOBITS. */
  size: number;
  readonly link: number;
  info: number;
  readonly alignment: number;
  readonly entrySize: number;
}

/** Names of the modules that must be loaded before this one (the `depends=` line of `.modinfo`). */
export function moduleDependencies(module: Uint8Array): string[] {
  const info = parseSections(Buffer.from(module)).find((section) => section.name === '.modinfo');
  const line = info?.content
    .toString('latin1')
    .split('\0')
    .find((text) => text.startsWith('depends='));
  return (line?.slice('depends='.length) ?? '').split(',').filter((name) => name !== '');
}

/** The module without its signature, its type information and the symbols that no relocation uses. */
export function slimModule(module: Uint8Array): Buffer {
  const image = withoutSignature(Buffer.from(module));
  const sections = parseSections(image);
  const symbols = sections.find((section) => section.type === SHT_SYMTAB);
  if (symbols === undefined) throw new ShoalError('bad-image', 'A kernel module has no symbol table; it cannot be loaded.');
  for (const section of sections) {
    const target = section.type === SHT_RELA ? sections[section.info] : undefined;
    const keep =
      section.flags & SHF_ALLOC || section === symbols || section.index === symbols.link || isSectionNames(image, section);
    if ((target && !(target.flags & SHF_ALLOC)) || (!target && !keep)) drop(section);
  }
  keepUsedSymbols(sections, symbols);
  return assemble(image, sections);
}

function withoutSignature(module: Buffer): Buffer {
  const end = module.length - SIGNATURE_MAGIC.length;
  if (end < SIGNATURE_TRAILER_BYTES || module.toString('latin1', end) !== SIGNATURE_MAGIC) return module;
  return module.subarray(0, end - SIGNATURE_TRAILER_BYTES - module.readUInt32BE(end - 4));
}

function parseSections(image: Buffer): Section[] {
  if (image.length < HEADER_BYTES || image.readUInt32BE(0) !== 0x7f454c46 || image[4] !== 2 || image[5] !== 1) {
    throw new ShoalError(
      'bad-image',
      'A kernel module is not a 64-bit ELF file; the kernel package is damaged or of another kind.',
    );
  }
  if (image.readUInt16LE(18) !== ELF_MACHINE_RISCV) {
    throw new ShoalError('bad-image', 'A kernel module is not for RISC-V; the package is of another architecture.');
  }
  const table = Number(image.readBigUInt64LE(40));
  const count = image.readUInt16LE(60);
  const names = image.readUInt16LE(62);
  if (table + count * SECTION_BYTES > image.length) throw new ShoalError('bad-image', 'A kernel module is truncated.');
  const nameTable = Number(image.readBigUInt64LE(table + names * SECTION_BYTES + 24));
  return Array.from({ length: count }, (_, index) => {
    const at = table + index * SECTION_BYTES;
    const type = image.readUInt32LE(at + 4);
    const offset = Number(image.readBigUInt64LE(at + 24));
    const size = Number(image.readBigUInt64LE(at + 32));
    const nameAt = nameTable + image.readUInt32LE(at);
    const stored = type === SHT_NOBITS || type === SHT_NULL ? 0 : size;
    if (offset + stored > image.length && stored > 0) throw new ShoalError('bad-image', 'A kernel module is truncated.');
    return {
      index,
      name: image.toString('latin1', nameAt, image.indexOf(0, nameAt)),
      type,
      flags: image.readBigUInt64LE(at + 8),
      content: image.subarray(offset, offset + stored),
      size,
      link: image.readUInt32LE(at + 40),
      info: image.readUInt32LE(at + 44),
      alignment: Math.max(1, Number(image.readBigUInt64LE(at + 48))),
      entrySize: Number(image.readBigUInt64LE(at + 56)),
    };
  });
}

const isSectionNames = (image: Buffer, section: Section): boolean => section.index === image.readUInt16LE(62);

function drop(section: Section): void {
  section.type = SHT_NULL;
  section.content = Buffer.alloc(0);
  section.size = 0;
}

/** Keeps global symbols, undefined ones and those that a kept relocation names; renumbers the relocations. */
function keepUsedSymbols(sections: readonly Section[], symbols: Section): void {
  const strings = sections[symbols.link] as Section;
  const count = symbols.content.length / SYMBOL_BYTES;
  const used = new Uint8Array(count);
  used[0] = 1;
  used.fill(1, symbols.info);
  const relocations = sections.filter((section) => section.type === SHT_RELA);
  for (const { content } of relocations) {
    for (let at = 0; at < content.length; at += RELOCATION_BYTES) used[content.readUInt32LE(at + 12)] = 1;
  }
  const renumbered = new Uint32Array(count);
  const kept: Buffer[] = [];
  const names: Buffer[] = [Buffer.from([0])];
  let namesBytes = 1;
  let locals = 0;
  for (let old = 0; old < count; old++) {
    if (used[old] === 0) continue;
    renumbered[old] = kept.length;
    if (old < symbols.info) locals++;
    const symbol = Buffer.from(symbols.content.subarray(old * SYMBOL_BYTES, (old + 1) * SYMBOL_BYTES));
    const nameAt = symbol.readUInt32LE(0);
    const name = strings.content.subarray(nameAt, strings.content.indexOf(0, nameAt) + 1);
    // A local label needs its value and not its name: without one, the kernel leaves it out of kallsyms.
    const anonymous = name.length === 1 || (old < symbols.info && (name[0] === 0x2e || name[0] === 0x24));
    symbol.writeUInt32LE(anonymous ? 0 : namesBytes, 0);
    if (!anonymous) {
      names.push(name);
      namesBytes += name.length;
    }
    kept.push(symbol);
  }
  symbols.content = Buffer.concat(kept);
  symbols.size = symbols.content.length;
  symbols.info = locals;
  strings.content = Buffer.concat(names);
  strings.size = namesBytes;
  for (const section of relocations) {
    section.content = Buffer.from(section.content);
    for (let at = 0; at < section.content.length; at += RELOCATION_BYTES) {
      section.content.writeUInt32LE(renumbered[section.content.readUInt32LE(at + 12)] as number, at + 12);
    }
  }
}

function assemble(image: Buffer, sections: readonly Section[]): Buffer {
  const header = Buffer.from(image.subarray(0, HEADER_BYTES));
  const parts: Buffer[] = [header];
  let end = HEADER_BYTES;
  const align = (alignment: number): void => {
    const missing = (alignment - (end % alignment)) % alignment;
    parts.push(Buffer.alloc(missing));
    end += missing;
  };
  const table = Buffer.alloc(sections.length * SECTION_BYTES);
  const oldTable = Number(image.readBigUInt64LE(40));
  for (const section of sections) {
    align(section.alignment);
    const at = section.index * SECTION_BYTES;
    table.writeUInt32LE(image.readUInt32LE(oldTable + at), at);
    table.writeUInt32LE(section.type, at + 4);
    table.writeBigUInt64LE(section.flags, at + 8);
    table.writeBigUInt64LE(image.readBigUInt64LE(oldTable + at + 16), at + 16);
    table.writeBigUInt64LE(BigInt(end), at + 24);
    table.writeBigUInt64LE(BigInt(section.size), at + 32);
    table.writeUInt32LE(section.link, at + 40);
    table.writeUInt32LE(section.info, at + 44);
    table.writeBigUInt64LE(BigInt(section.alignment), at + 48);
    table.writeBigUInt64LE(BigInt(section.entrySize), at + 56);
    parts.push(section.content);
    end += section.content.length;
  }
  align(8);
  header.writeBigUInt64LE(BigInt(end), 40);
  return Buffer.concat([...parts, table]);
}
