/**
 * The picture of `shoal top`: lines of text for a terminal of any size, most important first. Text in, text out; keys, colours of the terminal
 * and the act of drawing are not its business.
 *
 *   title · bars of the pool · frames by state · manager
 *   table of machines, as many as there is room for
 *   decisions, newest last
 *   keys
 */
import { styleText } from 'node:util';
import { formatSize } from '../../host/size.ts';
import { formatAge } from '../table.ts';
import { type PlacedColumn, placeColumns, type SortKey, sizeText, sortMachines } from './columns.ts';
import type { EventLine, MachineView, TopModel } from './model.ts';

const PAGE_BYTES = 4096;
/** From so many columns on, sizes are written out and columns stand wider apart. */
const WIDE_COLUMNS = 130;
/** Decisions get so many lines before machines get more. */
const EVENTS_MIN = 5;
const SILENT_MS = 3000;

export interface View {
  readonly columns: number;
  readonly rows: number;
  readonly sort: SortKey;
  readonly reverse: boolean;
  /** Machines above the first one shown. */
  readonly offset: number;
  readonly colour: boolean;
  /** Since 1970, and of the monotonic clock. */
  readonly nowMs: number;
  readonly monotonicMs: number;
}

type Style = Parameters<typeof styleText>[0];

/** A line is pieces of text, so that it can be cut to a width before it is coloured. */
type Piece = string | readonly [style: Style, text: string];

/** Exactly `rows` lines of at most `columns` characters. */
export function renderTop(model: TopModel, view: View): string[] {
  const head = renderHead(model, view);
  const foot: Piece[][] = view.rows >= 6 ? [[['dim', keysLine(view)]]] : [];
  const room = view.rows - head.length - foot.length;
  const machines = sortMachines(model.machines, view.sort, view.reverse);
  const eventsRoom = room >= 10 ? Math.max(EVENTS_MIN + 1, room - machines.length - 1) : 0;
  const table = renderTable(machines, view, room - eventsRoom);
  const events = eventsRoom > 0 ? renderEvents(model.events, eventsRoom) : [];
  const body = [...table, ...events];
  while (body.length < room) body.push([]);
  return [...head, ...body, ...foot].slice(0, view.rows).map((line) => paint(line, view));
}

/** What is above the table; on a low terminal less of it. */
function renderHead(model: TopModel, view: View): Piece[][] {
  const lines = [titleLine(model, view)];
  if (view.rows >= 10) lines.push(...bars(model, view));
  if (view.rows >= 14) lines.push(...framesLines(model, view));
  if (view.rows >= 18) lines.push(...managerLines(model, view), []);
  return lines;
}

function titleLine(model: TopModel, view: View): Piece[] {
  const { info, machines, askedAtMs } = model;
  const running = machines.filter(({ state }) => state === 'running').length;
  const waiting = machines.filter(({ state }) => state === 'waiting').length;
  const title = `shoal ${info.version} · pid ${info.pid} · up ${formatAge(info.startedAtMs, view.nowMs)} · ${machines.length === 1 ? '1 machine' : `${machines.length} machines`}, ${running} running`;
  const line: Piece[] = [['bold', title]];
  if (waiting > 0) line.push(['red', `, ${waiting} waiting`]);
  const silentMs = askedAtMs === null ? 0 : view.monotonicMs - askedAtMs;
  if (silentMs >= SILENT_MS) line.push(['red', ` · no answer for ${Math.floor(silentMs / 1000)} s`]);
  return line;
}

function bars({ memory }: TopModel, view: View): Piece[][] {
  const used = memory.framesInUse * PAGE_BYTES;
  const scale = Math.max(memory.promisedBytes, memory.poolBytes, 1);
  const peak = formatSize(memory.framesPeak * PAGE_BYTES);
  const rows: [string, number, Style, string][] = [
    ['promised', memory.promisedBytes, 'cyan', formatSize(memory.promisedBytes)],
    ['pool', memory.poolBytes, 'blue', formatSize(memory.poolBytes)],
    ['in use', used, 'green', `${formatSize(used)}, at most ${peak}`],
  ];
  const width = Math.max(4, Math.min(100, view.columns - 9 - 30));
  return rows.map(([label, bytes, style, text]) => {
    const filled = Math.min(width, Math.round((bytes / scale) * width));
    return [label.padEnd(9), [style, '█'.repeat(filled)], ['dim', '░'.repeat(width - filled)], ` ${text}`];
  });
}

function framesLines({ memory }: TopModel, view: View): Piece[][] {
  const { framesByState: frames, manager } = memory;
  const parts = [
    `private ${formatSize(frames.private * PAGE_BYTES)}`,
    `shared ${formatSize(frames.shared * PAGE_BYTES)}`,
    `free ${formatSize(frames.free * PAGE_BYTES)}`,
    `resident ${formatSize(memory.residentBytes)}`,
    `handy ${formatSize(frames.handy * PAGE_BYTES)}`,
    `store ${formatSize(manager.storeFrames * PAGE_BYTES)}`,
    `tables ${formatSize(memory.tableBytes)}`,
  ];
  return flow('frames   ', parts, view.columns, 1);
}

function managerLines(model: TopModel, view: View): Piece[][] {
  const { manager } = model.memory;
  const size = (pages: number): string => formatSize(pages * PAGE_BYTES);
  const cpu = (model.rate('cpuMs') / 10).toFixed(1);
  const parts = [
    `scan ${(model.rate('scannedBytes') / 1e9).toFixed(2)} GB/s`,
    `cpu ${cpu} %`,
    `merged ${size(manager.mergedPages)}`,
    `zeroed ${size(manager.zeroedPages)}`,
    `broken ${Math.round(model.rate('brokenMerges'))}/s`,
    `pass ${manager.passes}`,
    `compressed ${size(manager.compressedPages)}`,
    manager.swapCapacityBytes === 0
      ? 'no swap'
      : `swap ${formatSize(manager.swapBytes)} of ${formatSize(manager.swapCapacityBytes)}`,
    `dropped ${size(manager.droppedPages)}`,
    `back ${Math.round(model.rate('broughtPages'))}/s`,
    `moved ${size(manager.movedPages)}`,
  ];
  return flow('manager  ', parts, view.columns, 2);
}

/** Parts after a label, over `lines` lines; those that do not fit are left out whole. */
function flow(label: string, parts: readonly string[], columns: number, lines: number): Piece[][] {
  const flowed: Piece[][] = [];
  let rest = parts;
  while (rest.length > 0 && flowed.length < lines) {
    let count = 1;
    const text = (): string => rest.slice(0, count).join(', ');
    while (count < rest.length && label.length + text().length <= columns) count++;
    if (count > 1 && label.length + text().length > columns) count--;
    flowed.push([['dim', flowed.length === 0 ? label : ' '.repeat(label.length)], text()]);
    rest = rest.slice(count);
  }
  return flowed;
}

function renderTable(machines: readonly MachineView[], view: View, room: number): Piece[][] {
  if (room < 1) return [];
  const wide = view.columns >= WIDE_COLUMNS;
  const longestName = machines.reduce((longest, { name }) => Math.max(longest, name.length), 0);
  const columns = placeColumns(view.columns, wide, longestName);
  const lines: Piece[][] = [columns.flatMap((column, index) => titlePieces(column, index, view, wide))];
  const fits = machines.length <= room - 1;
  const shown = fits ? room - 1 : Math.max(0, room - 2);
  const offset = Math.max(0, Math.min(view.offset, machines.length - shown));
  for (const machine of machines.slice(offset, offset + shown)) {
    const cells = columns.map((column) => cell(column, column.text(machine, wide, view.nowMs)));
    const text = cells.join(wide ? '  ' : ' ').trimEnd();
    const style = STATE_STYLES[machine.state];
    lines.push(style === undefined ? [text] : [[style, text]]);
  }
  if (!fits && room >= 2) {
    const below = machines.length - offset - shown;
    lines.push([['dim', `${offset} machines above, ${below} below`]]);
  }
  return lines;
}

const STATE_STYLES: Readonly<Partial<Record<MachineView['state'], Style>>> = {
  waiting: 'red',
  failed: 'red',
  paused: 'yellow',
  created: 'dim',
  stopped: 'dim',
};

function titlePieces(column: PlacedColumn, index: number, view: View, wide: boolean): Piece[] {
  const gap = index === 0 ? '' : wide ? '  ' : ' ';
  const text = cell(column, column.title);
  return [gap, column.sort === view.sort ? ['inverse', text] : ['bold', text]];
}

function cell(column: PlacedColumn, text: string): string {
  const fitting = text.length <= column.width ? text : `${text.slice(0, column.width - 1)}…`;
  return column.left ? fitting.padEnd(column.width) : fitting.padStart(column.width);
}

function renderEvents(events: readonly EventLine[], room: number): Piece[][] {
  const lines: Piece[][] = [[['bold', 'DECISIONS']]];
  const shown = events.slice(-(room - 1));
  if (shown.length === 0) lines.push([['dim', 'none since this screen was opened']]);
  for (const { atMs, action, vm, text } of shown) {
    const what = `${new Date(atMs).toTimeString().slice(0, 8)}  ${action.padEnd(9)} ${vm.padEnd(12)} ${text}`;
    lines.push(action === '!' ? [['red', what]] : [what]);
  }
  return lines;
}

function keysLine(view: View): string {
  return `q quit · s sort: ${view.sort}${view.reverse ? ' (reversed)' : ''} · r reverse · ↑ ↓ scroll`;
}

/** Cuts a line to the terminal's width, then colours it. Nothing that could move the cursor comes through. */
function paint(line: readonly Piece[], { columns, colour }: View): string {
  let left = columns;
  let text = '';
  for (const piece of line) {
    const [style, raw] = typeof piece === 'string' ? [null, piece] : piece;
    const cut = raw.replaceAll(/\p{Cc}/gu, '?').slice(0, left);
    left -= cut.length;
    text += style === null || !colour || cut === '' ? cut : styleText(style, cut, { validateStream: false });
  }
  return text;
}

/** The table alone, for a pipe or a file. */
export function plainTable(model: TopModel, view: Pick<View, 'sort' | 'reverse' | 'nowMs'>): string {
  const machines = sortMachines(model.machines, view.sort, view.reverse);
  const columns = placeColumns(Number.POSITIVE_INFINITY, true, 0).map((column) => ({ ...column, width: column.title.length }));
  const rows = [
    columns.map(({ title }) => title),
    ...machines.map((machine) => columns.map((column) => column.text(machine, true, view.nowMs))),
  ];
  const widths = columns.map((_, index) => Math.max(...rows.map((row) => row[index].length)));
  const lines = rows.map((row) =>
    row
      .map((text, index) => cell({ ...columns[index], width: widths[index] }, text))
      .join('  ')
      .trimEnd(),
  );
  const { memory } = model;
  const used = sizeText(memory.framesInUse * PAGE_BYTES, true);
  return [
    `pool: ${used} of ${formatSize(memory.poolBytes)} in use, ${formatSize(memory.promisedBytes)} promised, ${formatSize(memory.residentBytes)} resident`,
    ...lines,
  ].join('\n');
}
