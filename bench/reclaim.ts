/**
 * Memory that guests do not need, taken from them and shared out: page cache, pressure, shares, idleness, and the demo's guests.
 *
 *   node tools/run.mjs bench/reclaim.ts [part…] [--json]
 *
 * Parts: page-cache, pressure, shares, nothing-to-win, demo, crowd; all of them unless some are named. Each has a pool of its own.
 */
import { noCompiler } from '../test/guests/guest-programs.ts';
import type { Part } from './part.ts';
import { demoCrowd, demoSettles } from './reclaim/demo.ts';
import { nothingToWin } from './reclaim/nothing-to-win.ts';
import { pageCache } from './reclaim/page-cache.ts';
import { pressure } from './reclaim/pressure.ts';
import { shares } from './reclaim/shares.ts';
import { type Check, report } from './report.ts';

const PARTS: Readonly<Record<string, Part>> = {
  'page-cache': pageCache,
  pressure,
  shares,
  'nothing-to-win': nothingToWin,
  demo: demoSettles,
  crowd: demoCrowd,
};

if (noCompiler !== undefined) {
  process.stderr.write(`This benchmark ${noCompiler}\n`);
  process.exit(2);
}
const named = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const unknown = named.filter((name) => !(name in PARTS));
if (unknown.length > 0) {
  process.stderr.write(`There is no part ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}.\n`);
  process.exit(2);
}

const checks: Check[] = [];
const details: Record<string, unknown> = {};
for (const [name, part] of Object.entries(PARTS)) {
  if (named.length > 0 && !named.includes(name)) continue;
  process.stderr.write(`— ${name}\n`);
  const result = await part();
  checks.push(...result.checks);
  details[name] = result.details;
}
report('reclaim', checks, details);
