/**
 * The mix: items of everyday work in a guest of Shoal and one of QEMU, both booted once from the same image, and natively. They take turns item
 * by item and round by round, each first as often as the others, and nobody works meanwhile. Medians are compared.
 */
import type { PartResult } from '../part.ts';
import type { Check } from '../report.ts';
import { median } from '../statistics.ts';
import { buildGuestPrograms } from './guest-runner.ts';
import type { Item, Run, Runner } from './items.ts';
import { startNativeRunner } from './native.ts';
import { isThere, NATIVE_GCC } from './programs.ts';
import { startQemuRunner } from './qemu.ts';
import { startShoalRunner } from './shoal.ts';

const ITEM_BAR = 0.6;
const MEAN_BAR = 1.2;
/** Of the time that passed on the host. */
const CLOCK_BAR_PERCENT = 5;

interface Runners {
  readonly shoal: Runner;
  readonly qemu: Runner;
  /** Null where there is no compiler for the machine itself. */
  readonly native: Runner | null;
}

interface ItemResult {
  readonly item: Item;
  readonly shoalNs: number;
  readonly qemuNs: number;
  readonly nativeNs: number | null;
  /** How many times as fast as QEMU, and as native. */
  readonly ratio: number;
  readonly nativeRatio: number | null;
  readonly checksum: string;
  /** What the guests' clocks make of the host's time, 1 when they agree: the medians of Shoal's and of QEMU's runs. */
  readonly clocks: readonly [number, number];
  /** In the order of the rounds, for the spread. */
  readonly runsNs: { readonly shoal: readonly number[]; readonly qemu: readonly number[]; readonly native: readonly number[] };
}

export async function measureMix(items: readonly Item[], rounds: number): Promise<PartResult> {
  await using stack = new AsyncDisposableStack();
  const programs = buildGuestPrograms();
  const native = isThere(NATIVE_GCC) ? stack.use(startNativeRunner()) : null;
  const qemu = stack.use(await startQemuRunner(programs));
  const shoal = stack.use(await startShoalRunner(programs));
  const results = await measureItems({ shoal, qemu, native }, items, rounds);
  for (const line of table(results)) process.stderr.write(`${line}\n`);
  return { checks: checksOf(results), details: { items: results } };
}

async function measureItems(runners: Runners, items: readonly Item[], rounds: number): Promise<ItemResult[]> {
  const all = Object.values(runners).filter((runner): runner is Runner => runner !== null);
  const runs = new Map(all.map((runner) => [runner, new Map<Item, Run[]>(items.map((item) => [item, []]))]));
  for (let round = 0; round < rounds; round++) {
    for (const item of items) {
      const times: string[] = [];
      for (let turn = 0; turn < all.length; turn++) {
        const runner = all[(round + turn) % all.length];
        const run = await runner.run(item);
        runs.get(runner)?.get(item)?.push(run);
        times.push(`${runner.name} ${seconds(run.ns)} s`);
      }
      process.stderr.write(`round ${round + 1} of ${rounds}: ${item.padEnd(12)} ${times.join(', ')}\n`);
      agree(item, runs);
    }
  }
  const of = (runner: Runner | null, item: Item): readonly Run[] => (runner && runs.get(runner)?.get(item)) ?? [];
  return items.map((item) => resultOf(item, of(runners.shoal, item), of(runners.qemu, item), of(runners.native, item)));
}

/** @throws Error when somebody computed something else. */
function agree(item: Item, runs: ReadonlyMap<Runner, ReadonlyMap<Item, readonly Run[]>>): void {
  const answers = [...runs].flatMap(([{ name }, of]) => of.get(item)?.map(({ checksum }) => ({ name, checksum })) ?? []);
  if (new Set(answers.map(({ checksum }) => checksum)).size === 1) return;
  throw new Error(`${item} is not the same: ${answers.map(({ name, checksum }) => `${name} ${checksum}`).join(', ')}`);
}

function resultOf(item: Item, shoal: readonly Run[], qemu: readonly Run[], native: readonly Run[]): ItemResult {
  const ns = (runs: readonly Run[]): number[] => runs.map((run) => run.ns);
  const clock = (runs: readonly Run[]): number => median(runs.map((run) => run.ns / run.hostNs));
  const [shoalNs, qemuNs] = [median(ns(shoal)), median(ns(qemu))];
  const nativeNs = native.length > 0 ? median(ns(native)) : null;
  return {
    item,
    shoalNs,
    qemuNs,
    nativeNs,
    ratio: qemuNs / shoalNs,
    nativeRatio: nativeNs && nativeNs / shoalNs,
    checksum: shoal[0].checksum,
    clocks: [clock(shoal), clock(qemu)],
    runsNs: { shoal: ns(shoal), qemu: ns(qemu), native: ns(native) },
  };
}

const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((total, value) => total + Math.log(value), 0) / values.length);

function checksOf(results: readonly ItemResult[]): Check[] {
  const mean = geometricMean(results.map(({ ratio }) => ratio));
  const clock = Math.max(...results.flatMap(({ clocks }) => clocks.map((of) => Math.abs(of - 1) * 100)));
  const unit = '× QEMU’s speed';
  return [
    ...results.map(({ item, ratio }) => ({ name: item, value: ratio, unit, bar: ITEM_BAR, atMost: false })),
    { name: `geometric mean of ${results.length} items`, value: mean, unit, bar: MEAN_BAR, atMost: false },
    { name: 'a guest’s clock is off the host’s, at most', value: clock, unit: '%', bar: CLOCK_BAR_PERCENT, atMost: true },
  ];
}

const seconds = (ns: number): string => (ns / 1e9).toFixed(3);

function table(results: readonly ItemResult[]): string[] {
  const row = (cells: readonly string[]): string => cells.map((cell, i) => (i ? cell.padStart(12) : cell.padEnd(14))).join('');
  return [
    row(['seconds', 'Shoal', 'QEMU', `native ${process.arch}`, '× QEMU', '× native']),
    ...results.map(({ item, shoalNs, qemuNs, nativeNs, ratio, nativeRatio }) =>
      row([
        item,
        seconds(shoalNs),
        seconds(qemuNs),
        nativeNs === null ? '' : seconds(nativeNs),
        ratio.toFixed(2),
        nativeRatio === null ? '' : nativeRatio.toFixed(3),
      ]),
    ),
  ];
}
