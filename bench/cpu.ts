/**
 * The CPU beside QEMU's translator (qemu-system-riscv64, TCG). Both run the same bytes, taking turns, and medians over the rounds are compared:
 *
 *   the mix    everyday programs on the same kernel, each listed with its ratio, native speed beside it   cpu/mix.ts
 *   boot       a stock kernel's way to the shell                                                          cpu/boot.ts
 *   loops      bare loops without a kernel, in instructions a second                                      cpu/loops.ts
 */
import { parseArgs } from 'node:util';
import { measureBoot } from './cpu/boot.ts';
import { ITEMS, type Item } from './cpu/items.ts';
import { measureLoops } from './cpu/loops.ts';
import { measureMix } from './cpu/mix.ts';
import { GUEST_GCC, isThere } from './cpu/programs.ts';
import type { PartResult } from './part.ts';
import { QEMU } from './qemu.ts';
import { report } from './report.ts';

const NAMES: readonly string[] = [...ITEMS, 'boot', 'loops'];
const USAGE = `npm run -s bench:cpu -- [--items NAME,NAME…] [--json]

Items: ${NAMES.join(', ')}; all unless some are named.
ROUNDS=5 in the environment: how often each is run.
`;

function give(text: string, code: number): never {
  (code === 0 ? process.stdout : process.stderr).write(text);
  process.exit(code);
}

/** What is to be run. */
function named(): readonly string[] {
  try {
    const options = { items: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean' } } as const;
    const { values } = parseArgs({ options });
    if (values.help) give(USAGE, 0);
    const names = values.items?.split(',') ?? NAMES;
    const unknown = names.filter((name) => !NAMES.includes(name));
    if (unknown.length > 0) give(`There is no item ${unknown.join(', ')}.\n${USAGE}`, 2);
    return names;
  } catch (error) {
    give(`${(error as Error).message}\n${USAGE}`, 2);
  }
}

const names = named();
const rounds = Number(process.env.ROUNDS ?? 5);
if (!(Number.isInteger(rounds) && rounds > 0)) give(`ROUNDS is not a number of rounds.\n${USAGE}`, 2);
for (const command of [QEMU, GUEST_GCC])
  if (!isThere(command)) give(`This benchmark needs ${command}: apt-get install qemu-system-misc gcc-riscv64-linux-gnu\n`, 2);

// So that what is done at exit (QEMU ended) is done.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

const items = ITEMS.filter((item: Item) => names.includes(item));
const parts: Record<string, PartResult> = {};
if (items.length > 0) parts['mix'] = await measureMix(items, rounds);
if (names.includes('boot')) parts['boot'] = await measureBoot(rounds);
if (names.includes('loops')) parts['loops'] = await measureLoops(rounds);
report(
  'CPU beside QEMU (TCG)',
  Object.values(parts).flatMap(({ checks }) => checks),
  Object.fromEntries(Object.entries(parts).map(([name, { details }]) => [name, details])),
);
