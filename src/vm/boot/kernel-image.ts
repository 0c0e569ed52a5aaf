/**
 * The header of a riscv64 Linux Image (Documentation/arch/riscv/boot-image-header.rst), and where the parts of a boot
 * go in guest memory.
 *
 *   RAM_BASE + 2 MiB  kernel, image_size bytes (its file, then bss)
 *   next 2 MiB        initramfs
 *   next 4 KiB        device tree
 */
import { ShoalError } from '../../base/errors.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { KERNEL_OFFSET, RAM_BASE } from '../../layout/machine.ts';

const HEADER_SIZE = 64;
/** Bytes of a file's beginning that `kernelImageSize` wants to see: its header and the EFI section table. */
export const KERNEL_HEADER_BYTES = 4096;
const PE_MAGIC = 0x4550;
const MAGIC2 = 0x05435352; // "RSC\x05"
const ELF_MAGIC = 0x464c457f;
const GZIP_MAGIC = 0x8b1f;
const MEGABYTE = 2 ** 20;

/** RAM that a kernel needs beside its image, initramfs and device tree, bytes: below this it dies before it can say so. */
const WORKING_ROOM = 8 * MEGABYTE;

/**
 * Bytes that the kernel takes in memory, bss included.
 * @throws ShoalError `bad-kernel` when the file is not a whole uncompressed riscv64 Image.
 */
export function kernelImageSize(header: Uint8Array, fileBytes: number, path: string): number {
  const bad = (why: string) => new ShoalError('bad-kernel', `${path} ${why}; give an uncompressed riscv64 Linux Image.`);
  if (header.length < HEADER_SIZE) throw bad(`is only ${header.length} bytes long`);
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  if (view.getUint16(0, true) === GZIP_MAGIC) throw bad('is compressed');
  if (view.getUint32(0, true) === ELF_MAGIC) throw bad('is an ELF file, not an Image');
  if (view.getUint32(56, true) !== MAGIC2) throw bad('is not a riscv64 Linux Image');
  const textOffset = Number(view.getBigUint64(8, true));
  const imageSize = Number(view.getBigUint64(16, true));
  if (textOffset !== KERNEL_OFFSET) throw bad(`wants to be loaded at offset ${textOffset}, which Shoal does not offer`);
  if (imageSize < HEADER_SIZE || imageSize > 2 ** 31) throw bad('has a header that makes no sense');
  const needed = portableExecutableBytes(view) ?? imageSize / 2;
  if (fileBytes < needed) throw bad(`is truncated (${fileBytes} bytes, at least ${Math.ceil(needed)} expected)`);
  return imageSize;
}

/**
 * The file's length as its EFI header tells it: the end of the last section. Null where a kernel was built without the EFI
 * stub; then all that is known is that the bss, which the file leaves out, is smaller than the rest.
 */
function portableExecutableBytes(view: DataView): number | null {
  const header = view.getUint32(60, true);
  if (header < HEADER_SIZE || header + 24 > view.byteLength || view.getUint32(header, true) !== PE_MAGIC) return null;
  const sections = view.getUint16(header + 6, true);
  let entry = header + 24 + view.getUint16(header + 20, true);
  let end = 0;
  for (let i = 0; i < sections && entry + 40 <= view.byteLength; i++, entry += 40) {
    end = Math.max(end, view.getUint32(entry + 16, true) + view.getUint32(entry + 20, true));
  }
  return end;
}

export interface BootPlan {
  readonly kernelAddress: number;
  readonly initrdAddress: number;
  readonly deviceTreeAddress: number;
}

const alignUp = (value: number, alignment: number) => Math.ceil(value / alignment) * alignment;

/** @throws ShoalError `bad-argument` when the guest's RAM cannot hold the parts. */
export function planBoot(memoryBytes: number, imageSize: number, initrdBytes: number, deviceTreeBytes: number): BootPlan {
  const kernelAddress = RAM_BASE + KERNEL_OFFSET;
  const initrdAddress = alignUp(kernelAddress + imageSize, 2 * MEGABYTE);
  const deviceTreeAddress = alignUp(initrdAddress + initrdBytes, PAGE_SIZE);
  const needed = deviceTreeAddress + deviceTreeBytes - RAM_BASE + WORKING_ROOM;
  if (memoryBytes < needed) {
    throw new ShoalError(
      'bad-argument',
      `${Math.floor(memoryBytes / MEGABYTE)} MiB of RAM cannot hold this kernel and initramfs; give at least ${Math.ceil(needed / MEGABYTE)} MiB.`,
    );
  }
  return { kernelAddress, initrdAddress, deviceTreeAddress };
}
