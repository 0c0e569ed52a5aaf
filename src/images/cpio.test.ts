import { expect, test } from 'vitest';
import { CpioWriter } from './cpio.ts';

interface Entry {
  readonly name: string;
  readonly mode: number;
  readonly inode: number;
  readonly links: number;
  readonly device: readonly [number, number];
  readonly content: string;
}

/** Reads an archive back, by the kernel's description of the format. */
function read(archive: Uint8Array): Entry[] {
  const bytes = Buffer.from(archive);
  const entries: Entry[] = [];
  for (let at = 0; ; ) {
    expect(bytes.toString('latin1', at, at + 6)).toBe('070701');
    const field = (n: number): number => Number.parseInt(bytes.toString('latin1', at + 6 + 8 * n, at + 14 + 8 * n), 16);
    const nameEnd = at + 110 + field(11);
    const start = (nameEnd + 3) & ~3;
    const name = bytes.toString('utf8', at + 110, nameEnd - 1);
    if (name === 'TRAILER!!!') return entries;
    const content = bytes.toString('latin1', start, start + field(6));
    entries.push({ name, mode: field(1), inode: field(0), links: field(4), device: [field(9), field(10)], content });
    at = (start + field(6) + 3) & ~3;
  }
}

test('files, folders, links and devices are written as the kernel reads them', () => {
  const cpio = new CpioWriter();
  cpio.directory('/etc');
  cpio.file('etc/x', Buffer.from('abcde'), 0o600);
  cpio.symlink('sbin', 'bin');
  cpio.characterDevice('dev/console', 5, 1);
  const archive = cpio.finish();
  expect(archive.length % 4096).toBe(0);
  expect(read(archive)).toMatchObject([
    { name: 'etc', mode: 0o040755, content: '' },
    { name: 'etc/x', mode: 0o100600, links: 1, content: 'abcde' },
    { name: 'sbin', mode: 0o120777, content: 'bin' },
    { name: 'dev/console', mode: 0o020600, device: [5, 1] },
  ]);
});

test('further names of a file share its inode and hold no bytes', () => {
  const cpio = new CpioWriter();
  cpio.file('a', Buffer.from('content'), 0o755, ['b', 'c']);
  const [a, b, c] = read(cpio.finish()) as [Entry, Entry, Entry];
  expect([a.links, b.links, c.links]).toEqual([3, 3, 3]);
  expect(b.inode).toBe(a.inode);
  expect(c.inode).toBe(a.inode);
  expect([a.content, b.content, c.content]).toEqual(['content', '', '']);
});

test('equal input gives equal bytes', () => {
  const make = (): Uint8Array => {
    const cpio = new CpioWriter();
    cpio.file('a', Buffer.from('1'));
    return cpio.finish();
  };
  expect(make()).toEqual(make());
});
