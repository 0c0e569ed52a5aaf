/** What processes take, as the kernel says it in /proc. Linux only. */
import { readdirSync, readFileSync } from 'node:fs';

const kib = (text: string, name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]) * 1024;

/** Proportional set size in bytes: a page that n processes map counts 1/n in each. */
export const proportionalBytes = (pid: number | 'self'): number =>
  kib(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'), 'Pss');

export interface Mapping {
  readonly bytes: number;
  readonly residentBytes: number;
  readonly proportionalBytes: number;
}

/** All mappings of a process. */
export function mappings(pid: number): Mapping[] {
  const parts = readFileSync(`/proc/${pid}/smaps`, 'latin1').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return parts.map((part) => ({
    bytes: kib(part, 'Size'),
    residentBytes: kib(part, 'Rss'),
    proportionalBytes: kib(part, 'Pss'),
  }));
}

/** Resident memory of this process from which code of no file can run: what its compilers have made. */
export function nativeCodeBytes(): number {
  const parts = readFileSync('/proc/self/smaps', 'latin1').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  // Address, permissions, offset, device, inode 0: no file.
  const made = parts.filter((part) => /^\S+ ..x. \S+ \S+ 0 /.test(part) && !part.includes('[vdso]'));
  return made.reduce((sum, part) => sum + kib(part, 'Rss'), 0);
}

/** The process or kernel thread with this name, or null. */
export function pidOf(name: string): number | null {
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (readFileSync(`/proc/${entry}/comm`, 'latin1') === `${name}\n`) return Number(entry);
    } catch {
      // It has just ended.
    }
  }
  return null;
}

/** CPU time that a single-threaded process or kernel thread has had, in milliseconds. */
export const cpuMsOf = (pid: number): number => Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
