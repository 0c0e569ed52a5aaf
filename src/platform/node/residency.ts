/** Resident memory, read from /proc. Not for accounting: the accounts count frames, this shows what the OS sees. */
import { readFileSync } from 'node:fs';
import { arenaBase } from './memory-return.ts';

const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) /;

export function residentBytesOfArena(memory: WebAssembly.Memory): number {
  const base = arenaBase(memory);
  if (base === null) return -1;
  const end = base + BigInt(memory.buffer.byteLength);
  let inside = false;
  let resident = 0;
  for (const line of readFileSync('/proc/self/smaps', 'latin1').split('\n')) {
    const mapping = MAPPING.exec(line);
    if (mapping) {
      const start = BigInt(`0x${mapping[1]}`);
      inside = start < end && BigInt(`0x${mapping[2]}`) > base;
    } else if (inside && line.startsWith('Rss:')) {
      resident += Number.parseInt(line.slice(4), 10) * 1024;
    }
  }
  return resident;
}

export const residentBytesOfProcess = (): number => process.memoryUsage.rss();
