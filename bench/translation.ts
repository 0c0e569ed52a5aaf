/**
 * What translation costs, and what guests have of what others needed: warm start, memory, times that vCPU threads spend on it, idle guests.
 *
 *   node tools/run.mjs bench/translation.ts [--json]      GUESTS=64 THRESHOLD=6
 *
 * Memory of translations is the process's memory beside the arena, beside that of the same guests doing the same in the interpreter. Each crowd has a
 * process of its own.
 *
 * An interval is the time for which a vCPU thread sees to translations in one go, as the clock has it: a question posted, an answer taken, its module
 * instantiated and its region entered in the table, modules let go of; or the regions of a page put back. By the clock the longest
 * holds waits for a core, of which there may be two for five busy threads; so the thread's own CPU time, which Linux counts in ticks of some ms, is beside it.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Check, report } from './report.ts';
import { type CrowdOptions, type CrowdResult, crowd, describeCrowd, GUESTS, THREADS } from './translation/crowd.ts';
import { MIB, SETTINGS } from './translation/settings.ts';
import { warmStart } from './translation/warm-start.ts';

const BUSY_S = 25;
const SMALL_BYTES = 2 * MIB;
const CROWDS = {
  interpreted: { translation: null, busyS: 10, idle: false },
  translated: { translation: SETTINGS, busyS: BUSY_S, idle: true },
  small: { translation: { ...SETTINGS, bytesMax: SMALL_BYTES }, busyS: BUSY_S, idle: false },
} satisfies Readonly<Record<string, CrowdOptions>>;
type CrowdName = keyof typeof CROWDS;
const CHILD_OUTPUT_MAX = MIB;

async function inChild(name: CrowdName): Promise<CrowdResult> {
  process.stderr.write(`— ${GUESTS} guests, ${name}\n`);
  const args = [...process.execArgv, fileURLToPath(import.meta.url), '--crowd', name];
  const child = promisify(execFile)(process.execPath, args, { maxBuffer: CHILD_OUTPUT_MAX });
  child.child.stderr?.pipe(process.stderr);
  const result = JSON.parse((await child).stdout) as CrowdResult;
  process.stderr.write(`${describeCrowd(result)}\n`);
  return result;
}

/** Checks of guests that are busy, and have this much for their translations in each thread. */
function busyChecks(name: string, { counters, bytesMost }: CrowdResult, bytesMax: number): Check[] {
  const check = (what: string, value: number | undefined, unit: string, bar: number): Check => ({
    name: `${name}: ${what}`,
    value: value ?? Number.NaN,
    unit,
    bar,
    atMost: true,
  });
  return [
    check('WebAssembly loaded at most', bytesMost / MIB, 'MiB', (THREADS * bytesMax) / MIB),
    check('interval, p99', counters?.p99Ms, 'ms', 5),
    check('interval, longest', counters?.longestMs, 'ms', 20),
    check('interval, longest, of the thread’s CPU time', counters?.longestOwnMs, 'ms', 20),
  ];
}

/** What the process really takes for what is translated, in all and for each byte more. */
function realMemory(on: CrowdResult, off: CrowdResult) {
  const { bytes, codeBytes, libraryBytes } = on.busy.counters ?? fail();
  const before = on.up.counters ?? fail();
  const real = on.busy.processBytes - off.busy.processBytes;
  const native = on.busy.nativeBytes - off.busy.nativeBytes;
  const realMore = real - (on.up.processBytes - off.up.processBytes);
  const nativeMore = native - (on.up.nativeBytes - off.up.nativeBytes);
  const libraryMore = libraryBytes - before.libraryBytes;
  return {
    realMib: real / MIB,
    nativeMib: native / MIB,
    webAssemblyPerCodeByte: bytes / codeBytes,
    realPerCodeByte: real / codeBytes,
    realPerLibraryByte: real / libraryBytes,
    realMorePerLibraryByteMore: realMore / libraryMore,
    nativeMorePerLibraryByteMore: nativeMore / libraryMore,
  };
}

const fail = (): never => {
  throw new Error('a crowd was to be translated');
};

async function main(): Promise<void> {
  const { checks, details: warm } = await warmStart();
  const off = await inChild('interpreted');
  const on = await inChild('translated');
  const small = await inChild('small');
  const memory = { translated: realMemory(on, off), small: realMemory(small, off) };
  for (const [name, figures] of Object.entries(memory)) {
    const texts = Object.entries(figures).map(([what, value]) => `${what} ${value.toFixed(2)}`);
    process.stderr.write(`memory of translations, ${name}: ${texts.join(', ')}\n`);
  }
  const idle = (on.idleShare ?? Number.NaN) * 100;
  const evicted = small.counters?.evicted ?? 0;
  report(
    `Translation: ${GUESTS} guests on ${THREADS} vCPU threads, threshold ${SETTINGS.threshold}`,
    [
      ...checks,
      ...busyChecks('busy', on, SETTINGS.bytesMax),
      ...busyChecks('busy, 2 MiB', small, SMALL_BYTES),
      { name: 'busy, 2 MiB: regions evicted', value: evicted, unit: 'regions', bar: 1, atMost: false },
      { name: `CPU of ${GUESTS} idle guests`, value: idle, unit: '% of a core', bar: 5, atMost: true },
    ],
    { guests: GUESTS, settings: SETTINGS, warm, crowds: { off, on, small }, memory },
  );
}

const crowdName = process.argv[process.argv.indexOf('--crowd') + 1] as CrowdName;
if (process.argv.includes('--crowd')) process.stdout.write(JSON.stringify(await crowd(CROWDS[crowdName])));
else await main();
