/** Rule M61: nothing of a swap file outlives its host. */
import { execFileSync } from 'node:child_process';
import { existsSync, fstatSync, mkdtempSync, readdirSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSwapFile, SwapFileDevice } from './index.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'shoal-swap-test-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** The number of a process that has ended. */
const deadPid = (): string => execFileSync(process.execPath, ['-p', 'process.pid'], { encoding: 'utf8' }).trim();

describe('the swap file', () => {
  it('M61: has no name unless one is asked for, and takes no space before it is written', () => {
    const swap = createSwapFile({ bytes: 64 * 2 ** 20 });
    const stats = fstatSync(swap.file);
    expect(stats).toMatchObject({ nlink: 0, size: 64 * 2 ** 20, blocks: 0 });
    expect(stats.mode & 0o777).toBe(0o600);
    swap.close();
  });

  it('M61: with a path lies there as long as it is open, and what dead hosts left there goes', () => {
    const path = join(directory, 'swap');
    const dead = `${path}.${deadPid()}`;
    for (const name of [dead, `${path}.1`, `${path}.old`, `${path}.${process.pid}`]) writeFileSync(name, 'left');
    const swap = createSwapFile({ bytes: 8192, path });
    expect(readdirSync(directory).sort()).toEqual([`swap.1`, `swap.${process.pid}`, 'swap.old'].sort());
    expect(statSync(`${path}.${process.pid}`).size).toBe(8192);
    expect(() => createSwapFile({ bytes: 8192, path })).toThrow('another pool of this process');
    swap.close();
    expect(existsSync(`${path}.${process.pid}`)).toBe(false);
  });

  it('M61: says in one sentence when it cannot be made', () => {
    expect(() => createSwapFile({ bytes: 4096, path: join(directory, 'no', 'swap') })).toThrow(
      `No swap file can be made in ${join(directory, 'no')} (ENOENT); choose another place for it.`,
    );
    expect(() => createSwapFile({ bytes: 100 })).toThrow('A swap file has 4 KiB to 32 GiB less 4 KiB, not 100 bytes.');
  });

  it('M59: writes pages where they belong, and gives the disk its space back when it is empty', () => {
    const swap = createSwapFile({ bytes: 64 * 4096 });
    const device = new SwapFileDevice(swap);
    const pages = [7, 8, 9].map((value) => new Uint8Array(4096).fill(value));
    expect(device.write(5, pages)).toBe(true);
    const back = new Uint8Array(4096);
    readSync(swap.file, back, 0, 4096, 7 * 4096);
    expect(back.every((byte) => byte === 9)).toBe(true);
    expect(fstatSync(swap.file).blocks).toBeGreaterThan(0);
    device.empty();
    expect(fstatSync(swap.file)).toMatchObject({ size: 64 * 4096, blocks: 0 });
    swap.close();
    // A file that cannot be written is as good as full.
    expect(new SwapFileDevice({ file: 9999, blocks: 64 }).write(0, pages)).toBe(false);
  });
});
