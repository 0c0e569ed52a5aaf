/**
 * A machine's memory drawn with letters: each letter is a run of pages, and says which state most of them are in. Colour helps where there is
 * some; the letters say it all.
 */
import { styleText } from 'node:util';
import type { MemoryMap, PageCounts } from '../host/index.ts';
import { formatSize } from '../host/size.ts';

type State = keyof PageCounts;
type Style = Parameters<typeof styleText>[0];

const PAGE_BYTES = 4096;
/** A map has about so many lines at most. */
const LINES_MAX = 16;
/** `0x80000000 ` */
const ADDRESS_WIDTH = 13;
const WIDTH_MIN = 8;

/** Letter, colour and meaning. Of states with as many pages each, the first wins. */
const LEGEND: Readonly<Record<State, readonly [letter: string, style: Style, meaning: string]>> = {
  private: ['P', 'red', 'private'],
  shared: ['S', 'green', 'shared'],
  absent: ['a', 'yellow', 'absent (compressed, swapped, in a file)'],
  ballooned: ['b', 'magenta', 'in the balloon'],
  rom: ['R', 'blue', 'read-only memory'],
  zero: ['·', 'dim', 'never written, or given back'],
};
const STATES = Object.keys(LEGEND) as State[];

/** Lines of at most `columns` characters. */
export function drawMap(name: string, map: MemoryMap, columns: number, colour: boolean): string[] {
  const width = Math.max(WIDTH_MIN, 8 * Math.floor((columns - ADDRESS_WIDTH - 1) / 8));
  const perLetter = nextNice(Math.ceil(map.cells.length / (width * LINES_MAX)));
  const letters = group(map.cells, perLetter).map(dominant);
  const pagesPerLetter = perLetter * map.cellPages;
  const start = Number(map.address);
  const lines = [
    `${name}: ${formatSize(map.pages * PAGE_BYTES)} from ${map.address}, a letter for ${formatSize(pagesPerLetter * PAGE_BYTES)}`.slice(
      0,
      Math.max(columns, name.length),
    ),
  ];
  for (let first = 0; first < letters.length; first += width) {
    const address = `0x${(start + first * pagesPerLetter * PAGE_BYTES).toString(16)}`;
    const row = letters.slice(first, first + width).map((state) => paint(LEGEND[state][0], LEGEND[state][1], colour));
    lines.push(`${address.padEnd(ADDRESS_WIDTH)}${row.join('')}`);
  }
  lines.push('');
  for (const state of STATES) {
    if (map.total[state] === 0 && state === 'rom') continue;
    const [letter, style, meaning] = LEGEND[state];
    const size = formatSize(map.total[state] * PAGE_BYTES).padStart(9);
    lines.push(`${paint(letter, style, colour)}${` ${size}  ${meaning}`.slice(0, Math.max(0, columns - 1))}`);
  }
  return lines;
}

function paint(text: string, style: Style, colour: boolean): string {
  return colour ? styleText(style, text, { validateStream: false }) : text;
}

/** 1, 2, 4, 8…: so that a letter is a whole number of MiB. */
const nextNice = (count: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, count)));

function group(cells: readonly PageCounts[], size: number): PageCounts[] {
  const groups: PageCounts[] = [];
  for (let first = 0; first < cells.length; first += size) {
    const sum = { zero: 0, private: 0, shared: 0, ballooned: 0, absent: 0, rom: 0 };
    for (const cell of cells.slice(first, first + size)) for (const state of STATES) sum[state] += cell[state];
    groups.push(sum);
  }
  return groups;
}

const dominant = (counts: PageCounts): State => STATES.reduce((best, state) => (counts[state] > counts[best] ? state : best));
