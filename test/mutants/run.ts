/**
 * Plants each bug of mutants.ts in a copy of the sources and plays the simulator there. Every bug must be caught.
 *
 *   node test/mutants/run.ts [--only text] [--schedules 20000] [--json]
 *
 * A replacement that no longer fits the sources is a failure too: the bug must be planted where the code is now.
 */
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { MUTANTS, type Mutant } from './mutants.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** What the simulator is made of. */
const COPIED = [
  'package.json',
  'src/base',
  'src/layout',
  'src/platform',
  'src/wasm',
  'src/host-memory',
  'src/guest-memory',
  'test/simulator',
];
const PARALLEL = 2;

interface Outcome {
  readonly name: string;
  readonly caught: boolean;
  readonly by: string;
  readonly seconds: number;
}

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    schedules: { type: 'string', default: '20000' },
    json: { type: 'boolean', default: false },
  },
});

function copySources(): string {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-mutant-'));
  for (const path of COPIED) cpSync(join(ROOT, path), join(folder, path), { recursive: true });
  if (existsSync(join(ROOT, 'node_modules'))) symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** False when the text is not there exactly once. */
function plant(folder: string, { file, find, replace }: Mutant): boolean {
  const path = join(folder, file);
  const parts = readFileSync(path, 'utf8').split(find);
  if (parts.length !== 2) return false;
  writeFileSync(path, parts.join(replace));
  return true;
}

/** Plays schedules in that copy until one fails; the first line of its failure, or null. */
function play(folder: string, schedules: string): Promise<string | null> {
  const script = join(folder, 'test/simulator/run.ts');
  const child = spawn(process.execPath, [script, '--schedules', schedules, '--threads', '1'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((resolve) => {
    child.once('close', () => {
      const broken = /^BROKEN: (.*)$/m.exec(output);
      if (broken) resolve(broken[1] ?? '');
      else resolve(/schedules, .* median/.test(output) ? null : `the simulator itself failed: ${output.trim().split('\n')[0]}`);
    });
  });
}

async function judge(mutant: Mutant | null, schedules: string): Promise<Outcome> {
  const folder = copySources();
  const started = performance.now();
  try {
    if (mutant && !plant(folder, mutant)) {
      return { name: mutant.name, caught: false, by: `cannot be planted in ${mutant.file}`, seconds: 0 };
    }
    const broken = await play(folder, schedules);
    const seconds = (performance.now() - started) / 1000;
    return { name: mutant?.name ?? 'no bug at all', caught: broken !== null, by: broken ?? 'nothing', seconds };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const wanted = MUTANTS.filter(({ name }) => name.includes(values.only));
const outcomes: Outcome[] = [];
const queue = [...wanted];
await Promise.all(
  Array.from({ length: PARALLEL }, async () => {
    for (let next = queue.shift(); next; next = queue.shift()) outcomes.push(await judge(next, values.schedules));
  }),
);
// The same run without a bug must be clean, or the catching says nothing.
const clean = await judge(null, '1000');

const survivors = wanted.length - outcomes.filter(({ caught }) => caught).length;
if (values.json) console.log(JSON.stringify({ mutants: wanted.length, survivors, cleanRun: !clean.caught, outcomes }));
else {
  for (const { name, caught, by, seconds } of outcomes)
    console.log(`${caught ? 'caught  ' : 'SURVIVED'}  ${name.padEnd(42)} ${seconds.toFixed(1).padStart(5)} s  ${by}`);
  if (clean.caught) console.log(`BROKEN without a bug: ${clean.by}`);
  console.log(`${wanted.length} planted, ${survivors} survived`);
}
process.exitCode = survivors === 0 && !clean.caught && wanted.length > 0 ? 0 : 1;
