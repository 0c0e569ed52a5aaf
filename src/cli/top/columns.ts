/** The columns of the table of machines: what each shows and what it is sorted by. */
import { formatSize } from '../../host/size.ts';
import { formatAge } from '../table.ts';
import type { MachineView } from './model.ts';

export const SORT_KEYS = [
  'name',
  'state',
  'promised',
  'private',
  'shared',
  'zero',
  'ballooned',
  'absent',
  'returned',
  'growth',
  'returning',
  'cpu',
  'minimum',
  'maximum',
  'shares',
] as const;
export type SortKey = (typeof SORT_KEYS)[number];

export interface Column {
  readonly title: string;
  readonly sort: SortKey | null;
  readonly left: boolean;
  /** Columns are left out from the highest number down where the terminal is narrow. */
  readonly rank: number;
  /** Least widths beside the title's, on a narrow and on a wide terminal. */
  readonly narrow: number;
  readonly wide: number;
  text(machine: MachineView, wide: boolean, nowMs: number): string;
}

const VALUES: Readonly<Record<SortKey, (machine: MachineView) => number | string>> = {
  name: (machine) => machine.name,
  state: (machine) => machine.state,
  promised: ({ memory }) => memory.promisedBytes,
  private: ({ memory }) => memory.privateBytes,
  shared: ({ memory }) => memory.sharedBytes,
  zero: ({ memory }) => memory.zeroBytes,
  ballooned: ({ memory }) => memory.balloonedBytes,
  absent: ({ memory }) => memory.absentBytes,
  returned: ({ memory }) => memory.returnedBytes,
  growth: (machine) => machine.growth,
  returning: (machine) => machine.returning,
  cpu: (machine) => machine.cpu,
  minimum: ({ memory }) => memory.minimumBytes,
  maximum: ({ memory }) => memory.maximumBytes,
  shares: ({ memory }) => memory.shares,
};

const size = (title: string, sort: SortKey, rank: number): Column => ({
  title,
  sort,
  left: false,
  rank,
  narrow: 6,
  wide: 9,
  text: (machine, wide) => sizeText(VALUES[sort](machine) as number, wide),
});

const COLUMNS: readonly Column[] = [
  { title: 'NAME', sort: 'name', left: true, rank: 0, narrow: 8, wide: 16, text: (machine) => machine.name },
  { title: 'STATE', sort: 'state', left: true, rank: 1, narrow: 7, wide: 8, text: (machine) => machine.state },
  {
    title: 'CPU',
    sort: 'cpu',
    left: false,
    rank: 5,
    narrow: 5,
    wide: 5,
    text: ({ cpu }) => (cpu < 0.05 ? '-' : `${cpu < 9.95 ? cpu.toFixed(1) : Math.round(cpu)}%`),
  },
  size('PROMISE', 'promised', 4),
  size('PRIVATE', 'private', 2),
  size('SHARED', 'shared', 3),
  size('ZERO', 'zero', 8),
  size('BALLOON', 'ballooned', 9),
  size('ABSENT', 'absent', 6),
  size('RETURNED', 'returned', 13),
  size('GROWTH/s', 'growth', 7),
  size('RETURN/s', 'returning', 14),
  size('MINIMUM', 'minimum', 10),
  size('MAXIMUM', 'maximum', 11),
  {
    title: 'SHARES',
    sort: 'shares',
    left: false,
    rank: 12,
    narrow: 6,
    wide: 6,
    text: ({ memory }) => String(memory.shares),
  },
  {
    title: 'UP',
    sort: null,
    left: false,
    rank: 15,
    narrow: 6,
    wide: 6,
    text: ({ startedAtMs }, _wide, nowMs) => (startedAtMs === null ? '-' : formatAge(startedAtMs, nowMs)),
  },
  { title: 'DOMAIN', sort: null, left: true, rank: 16, narrow: 10, wide: 10, text: ({ domain }) => domain },
  { title: 'IMAGE', sort: null, left: true, rank: 17, narrow: 10, wide: 14, text: ({ image }) => image ?? '-' },
];

/** `25.6 MiB`, or `25.6M` where there is little room. */
export function sizeText(bytes: number, wide: boolean): string {
  const whole = Math.round(bytes);
  if (whole === 0) return '-';
  const text = formatSize(whole);
  return wide ? text : text.replace(/ (.)(?:iB)?$/, '$1');
}

/** `g2` before `g10`. */
const { compare: compareNames } = new Intl.Collator('en', { numeric: true });

/** Sorted by a key: words from A, numbers from the largest; the other way round if `reverse`. Equal ones by name. */
export function sortMachines(machines: readonly MachineView[], key: SortKey, reverse: boolean): MachineView[] {
  const value = VALUES[key];
  const sign = reverse ? -1 : 1;
  return machines.toSorted((a, b) => {
    const [x, y] = [value(a), value(b)];
    const order = typeof x === 'string' ? compareNames(x, y as string) : (y as number) - x;
    return order === 0 ? compareNames(a.name, b.name) : sign * order;
  });
}

const WIDE_NAME = 26;

export interface PlacedColumn extends Column {
  readonly width: number;
}

/**
 * The columns that fit `columns` characters, with one or two between each two, in their order. Names get what is left over, if they need it; on a
 * wide terminal a column that is least wanted goes before they are cut, up to so many characters.
 */
export function placeColumns(columns: number, wide: boolean, longestName: number): PlacedColumn[] {
  const all = COLUMNS.map((column) => {
    const width = Math.max(column.title.length, wide ? column.wide : column.narrow);
    return { ...column, width: wide && column.rank === 0 ? Math.max(width, Math.min(longestName, WIDE_NAME)) : width };
  });
  let shown = all;
  const total = (): number => shown.reduce((sum, column) => sum + column.width + (wide ? 2 : 1), wide ? -2 : -1);
  while (shown.length > 1 && total() > columns) {
    const last = Math.max(...shown.map(({ rank }) => rank));
    shown = shown.filter(({ rank }) => rank !== last);
  }
  const spare = Math.max(0, columns - total());
  return shown.map((column) =>
    column.rank === 0 ? { ...column, width: Math.min(column.width + spare, Math.max(column.width, longestName)) } : column,
  );
}
