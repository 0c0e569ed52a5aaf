/** A machine's profile as lines of text: its hot pages, and why its code stopped. */
import type { VmProfile } from '../host/index.ts';

const EXITS: Readonly<Record<keyof VmProfile['exits'], string>> = {
  budget: 'its turn is over',
  fetchPageFaults: 'page fault of a fetch',
  loadPageFaults: 'page fault of a load',
  storePageFaults: 'page fault of a store',
  userCalls: 'system call',
  illegalInstructions: 'illegal instruction',
  breakpoints: 'breakpoint',
  otherExceptions: 'other exception',
  timerInterrupts: 'timer interrupt',
  externalInterrupts: 'device interrupt',
  softwareInterrupts: 'software interrupt',
  supervisorReturns: 'return from a trap (sret)',
  sbiCalls: 'SBI call',
  waitsForInterrupt: 'wait for an interrupt (wfi)',
  straddles: 'instruction in two pages',
  stateChanges: 'other state (satp, interrupts)',
  memoryWaits: 'wait for a page',
};

const CALLS: Readonly<Record<keyof VmProfile['calls'], string>> = {
  dataFills: 'TLB fill for data',
  fetchFills: 'TLB fill for code',
  pageWalks: 'walk of page tables',
  csrInstructions: 'CSR instruction',
  fences: 'sfence.vma',
  addressSpaceSwitches: 'satp written',
  deviceReads: 'device read',
  deviceWrites: 'device write',
};

/** With at most `top` pages. `askedMs`: how long it was to be looked at. */
export function profileLines(name: string, profile: VmProfile, { top, askedMs }: { top: number; askedMs: number }): string[] {
  const { durationMs, ranMs, instructions, samples, translated } = profile;
  const share = percent(ranMs, durationMs);
  const rate = ranMs > 0 ? `, ${amount(instructions / ranMs / 1000)} million a second of that` : '';
  const lines = [
    `${name}: ran ${seconds(ranMs)} of ${seconds(durationMs)} (${share})`,
    `${amount(instructions / 1e6)} million instructions${rate}`,
  ];
  // Timers are not that exact.
  if (durationMs < askedMs * 0.9)
    lines.push(`It stopped or was reset after ${seconds(durationMs)}; this is what was seen until then.`);
  if (samples > 0) {
    const [inRegions, interpreted] = [percent(translated, samples), percent(samples - translated, samples)];
    lines.push(`${count(samples)} samples: ${inRegions} in translated code, ${interpreted} in the interpreter`, '');
    lines.push(...pageLines(profile, top));
  }
  lines.push(...countLines('EXITS', EXITS, profile.exits, profile), ...countLines('CALLS', CALLS, profile.calls, profile));
  return lines;
}

function pageLines({ pages, samples, elsewhere }: VmProfile, top: number): string[] {
  const shown = pages.slice(0, top);
  const rows = shown.map((page) => [
    percent(page.samples, samples),
    page.mode,
    page.address,
    page.physical ?? '-',
    percent(page.translated, page.samples),
    percent(page.samples - page.translated, page.samples),
    String(page.regions),
  ]);
  const others = pages.slice(top).reduce((sum, page) => sum + page.samples, elsewhere);
  const lines = columns([['SHARE', 'MODE', 'VIRTUAL', 'PHYSICAL', 'TRANSLATED', 'INTERPRETED', 'REGIONS'], ...rows], [1, 2, 3]);
  return others > 0 ? [...lines, `${percent(others, samples).padStart(5)}  other pages`] : lines;
}

/** Those that happened, the most frequent first. */
function countLines<key extends string>(
  title: string,
  names: Readonly<Record<key, string>>,
  counts: Readonly<Record<key, number>>,
  { durationMs, instructions }: VmProfile,
): string[] {
  const rows = (Object.keys(names) as key[])
    .filter((name) => counts[name] > 0)
    .sort((a, b) => counts[b] - counts[a])
    .map((name) => [
      names[name].padEnd(30),
      count(counts[name]),
      amount((counts[name] / durationMs) * 1000),
      instructions > 0 ? amount((counts[name] / instructions) * 1e6) : '-',
    ]);
  return rows.length === 0 ? [] : ['', ...columns([[title, 'COUNT', 'A SECOND', 'A MILLION INSTRUCTIONS'], ...rows], [0])];
}

/** Padded on the right in the columns of `left`, on the left in the others. */
function columns(rows: readonly (readonly string[])[], left: readonly number[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const cell = (text: string, column: number): string =>
    left.includes(column) ? text.padEnd(widths[column]) : text.padStart(widths[column]);
  return rows.map((row) => row.map(cell).join('  ').trimEnd());
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
const count = (value: number): string => value.toLocaleString('en-US');
/** Small ones with a decimal or two. */
function amount(value: number): string {
  if (value >= 10 || value === 0) return count(Math.round(value));
  return value < 0.01 ? '<0.01' : value.toFixed(value >= 1 ? 1 : 2);
}

function percent(part: number, whole: number): string {
  const value = whole > 0 ? (part / whole) * 100 : 0;
  return `${value < 9.95 && value > 0 ? value.toFixed(1) : Math.round(value)} %`;
}
