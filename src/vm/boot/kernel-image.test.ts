import { expect, it } from 'vitest';
import { kernelImageSize, planBoot } from './kernel-image.ts';

const MIB = 2 ** 20;

/** A header as the kernel's own, with an EFI section table of one section that ends at `fileBytes`. */
function header({ magic = 0x05435352, textOffset = 2 * MIB, imageSize = 32 * MIB, fileBytes = 30 * MIB } = {}): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(8, BigInt(textOffset), true);
  view.setBigUint64(16, BigInt(imageSize), true);
  view.setUint32(56, magic, true);
  view.setUint32(60, 64, true);
  view.setUint32(64, 0x4550, true);
  view.setUint16(64 + 6, 1, true);
  view.setUint16(64 + 20, 240, true);
  const section = 64 + 24 + 240;
  view.setUint32(section + 16, fileBytes - 4096, true);
  view.setUint32(section + 20, 4096, true);
  return bytes;
}

it('takes a whole Image, and tells how much memory it wants', () => {
  expect(kernelImageSize(header(), 30 * MIB, 'Image')).toBe(32 * MIB);
});

it('knows a truncated one by its section table, or by its image size where there is none', () => {
  expect(() => kernelImageSize(header(), 30 * MIB - 1, 'Image')).toThrow(/truncated/);
  const plain = header();
  new DataView(plain.buffer).setUint32(60, 0, true);
  expect(kernelImageSize(plain, 17 * MIB, 'Image')).toBe(32 * MIB);
  expect(() => kernelImageSize(plain, 15 * MIB, 'Image')).toThrow(/truncated/);
  expect(() => kernelImageSize(header().subarray(0, 10), 10, 'Image')).toThrow(/only 10 bytes/);
});

it('refuses what is no riscv64 Image, each with its reason', () => {
  expect(() => kernelImageSize(header({ magic: 0x644d5241 }), 30 * MIB, 'Image')).toThrow(/not a riscv64 Linux Image/);
  expect(() => kernelImageSize(header({ textOffset: 0 }), 30 * MIB, 'Image')).toThrow(/offset 0/);
  const elf = header();
  new DataView(elf.buffer).setUint32(0, 0x464c457f, true);
  expect(() => kernelImageSize(elf, 30 * MIB, 'vmlinux')).toThrow(/ELF/);
  const gzip = header();
  gzip.set([0x1f, 0x8b]);
  expect(() => kernelImageSize(gzip, 30 * MIB, 'vmlinuz')).toThrow(/compressed/);
});

it('lays the parts out without overlap, and says how much RAM is too little', () => {
  const plan = planBoot(256 * MIB, 33 * MIB, 5 * MIB + 1, 3000);
  expect(plan.initrdAddress).toBeGreaterThanOrEqual(plan.kernelAddress + 33 * MIB);
  expect(plan.deviceTreeAddress).toBeGreaterThan(plan.initrdAddress + 5 * MIB);
  expect(() => planBoot(40 * MIB, 33 * MIB, 5 * MIB, 3000)).toThrow(/at least 50 MiB/);
});
