/** What the arena of this process really takes, from /proc/self/smaps. Linux only. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

const MIB = 2 ** 20;
const PAGE = 4096;
const PAGEMAP_ENTRY = 8;
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

/** End of that mapping: the frames of a pool are the last of its arena. */
function arenaEnd(): number {
  let largest = { bytes: 128 * MIB, end: -1 };
  for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
    const head = MAPPING.exec(line);
    if (!head?.[3]?.startsWith('rw')) continue;
    const end = Number.parseInt(head[2] as string, 16);
    const bytes = end - Number.parseInt(head[1] as string, 16);
    if (bytes > largest.bytes) largest = { bytes, end };
  }
  return largest.end;
}

/** One look at the pages of an arena's frames, in a few milliseconds; nothing else of the process counts, not even the arena's tables. */
export class FrameResidency {
  readonly #entries: Uint8Array;
  readonly #position: number;

  constructor(poolBytes: number) {
    const pages = poolBytes / PAGE;
    this.#entries = new Uint8Array(pages * PAGEMAP_ENTRY);
    this.#position = (arenaEnd() / PAGE - pages) * PAGEMAP_ENTRY;
  }

  residentBytes(): number {
    const file = openSync('/proc/self/pagemap', 'r');
    readSync(file, this.#entries, 0, this.#entries.length, this.#position);
    closeSync(file);
    let pages = 0;
    // Bit 63: the page is in memory.
    for (let i = PAGEMAP_ENTRY - 1; i < this.#entries.length; i += PAGEMAP_ENTRY)
      if ((this.#entries[i] as number) >= 0x80) pages++;
    return pages * PAGE;
  }
}

/** Resident bytes of the process, arena included. */
export const processResidentBytes = (): number => process.memoryUsage.rss();
