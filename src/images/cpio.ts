/**
 * Writes cpio archives in the "newc" format, the one a Linux kernel unpacks as its initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Not a reader, and not a general archiver: everything
 * belongs to root, times are zero (so equal inputs give equal bytes), and file content is held in memory.
 */
import { assert } from '../base/assert.ts';

const MODE_DIRECTORY = 0o040000;
const MODE_FILE = 0o100000;
const MODE_SYMLINK = 0o120000;
const MODE_CHARACTER_DEVICE = 0o020000;

export class CpioWriter {
  private readonly parts: Uint8Array[] = [];
  private bytes = 0;
  private inode = 0;

  directory(path: string, permissions = 0o755): void {
    this.entry(path, { mode: MODE_DIRECTORY | permissions, links: 2 });
  }

  /** A regular file; further `names` become hard links to it, which cost a guest a directory entry and no inode. */
  file(path: string, content: Uint8Array, permissions = 0o644, names: readonly string[] = []): void {
    const inode = ++this.inode;
    const mode = MODE_FILE | permissions;
    const links = 1 + names.length;
    this.entry(path, { mode, links, inode, content });
    for (const name of names) this.entry(name, { mode, links, inode });
  }

  symlink(path: string, target: string): void {
    this.entry(path, { mode: MODE_SYMLINK | 0o777, content: Buffer.from(target) });
  }

  characterDevice(path: string, major: number, minor: number, permissions = 0o600): void {
    this.entry(path, { mode: MODE_CHARACTER_DEVICE | permissions, device: [major, minor] });
  }

  /** The archive, padded to a whole number of 4096-byte pages, so that its frames can be shared as they are. */
  finish(): Uint8Array {
    this.entry('TRAILER!!!', { mode: 0 });
    this.pad(4096);
    return Buffer.concat(this.parts, this.bytes);
  }

  private entry(
    path: string,
    fields: { mode: number; links?: number; inode?: number; content?: Uint8Array; device?: readonly [number, number] },
  ): void {
    const name = Buffer.from(`${path.replace(/^\//, '')}\0`);
    assert(name.length > 1, 'a cpio entry needs a name');
    const size = fields.content?.length ?? 0;
    const [major, minor] = fields.device ?? [0, 0];
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    const numbers = [
      fields.inode ?? ++this.inode,
      fields.mode,
      0,
      0,
      fields.links ?? 1,
      0,
      size,
      0,
      0,
      major,
      minor,
      name.length,
      0,
    ];
    this.push(Buffer.from(`070701${numbers.map((value) => value.toString(16).padStart(8, '0')).join('')}`));
    this.push(name);
    this.pad(4);
    if (fields.content !== undefined) this.push(fields.content);
    this.pad(4);
  }

  private push(part: Uint8Array): void {
    this.parts.push(part);
    this.bytes += part.length;
  }

  private pad(alignment: number): void {
    const missing = -this.bytes & (alignment - 1);
    if (missing > 0) this.push(new Uint8Array(missing));
  }
}
