/** What the arena of this process really takes, from /proc/self/smaps. Linux only. */
import { readFileSync } from 'node:fs';

const MIB = 2 ** 20;
const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) (\S{4})/;

/** Resident bytes of the largest writable mapping, which is the arena of a pool of at least 128 MiB. */
export function arenaResidentBytes(): number {
  let largest = { bytes: 128 * MIB, resident: -1 };
  let mapping = { bytes: 0, resident: 0 };
  for (const line of readFileSync('/proc/self/smaps', 'latin1').split('\n')) {
    const head = MAPPING.exec(line);
    if (head) {
      const bytes = (head[3] as string).startsWith('rw')
        ? Number.parseInt(head[2] as string, 16) - Number.parseInt(head[1] as string, 16)
        : 0;
      mapping = { bytes, resident: 0 };
    } else if (line.startsWith('Rss:') && mapping.bytes > largest.bytes) {
      mapping.resident = Number.parseInt(line.slice(4), 10) * 1024;
      largest = mapping;
    }
  }
  return largest.resident;
}

/** Resident bytes of the process, arena included. */
export const processResidentBytes = (): number => process.memoryUsage.rss();
