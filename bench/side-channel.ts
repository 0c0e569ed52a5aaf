/**
 * Does the time of its own writes tell a guest what others hold? An attacker (guest/programs/probe.c) writes pages that a victim has, and pages
 * that nobody has, waits until the worker has had time to merge, and times its first write to each.
 *
 * Between domains nothing may be told apart. Inside one domain it must be, or the probe is blind and the first result worth nothing.
 */
import type { Vm } from '../src/host/index.ts';
import { install, noCompiler } from '../test/guests/guest-programs.ts';
import { openMachines } from '../test/guests/machines.ts';
import { patternSum } from '../test/guests/pattern.ts';
import { Conversation } from './conversation.ts';
import { counted, type ManagerCounters, managerCounters, untilSettled } from './memory-worker.ts';
import { report } from './report.ts';
import { type Auc, auc, type Spread, spread } from './statistics.ts';

/** Pages of each class: 256 for each MiB. */
const CLASS_MIB = Number(process.env.CLASS_MIB ?? 24);
const KNOWN_SEED = 71;
const OWN_SEED = 72;
const WAIT = { passes: 3, timeoutMs: 60_000 };

if (noCompiler !== undefined) {
  process.stderr.write(`This benchmark ${noCompiler}\n`);
  process.exit(2);
}

interface Probed {
  readonly auc: Auc;
  readonly samples: number;
  /** Times of both classes, in ticks of 100 ns. */
  readonly held: Spread;
  readonly notHeld: Spread;
  readonly work: ManagerCounters | null;
}

/** A pool with a victim and an attacker in these domains. */
async function probe(victimDomain: string, attackerDomain: string): Promise<Probed> {
  await using machines = await openMachines({ memory: '1G', threads: 2, worker: {} });
  const { host } = machines;
  const boot = async (domain: string, name: string, program: string): Promise<Vm> => {
    const vm = await host.run({ image: 'debian-mini', memory: '256M', name, domain });
    await install(vm, program);
    return vm;
  };
  const [victim, attacker] = await Promise.all([boot(victimDomain, 'victim', 'fill'), boot(attackerDomain, 'attacker', 'probe')]);
  const start = await managerCounters(host);
  const holding = new Conversation(victim, `fill ${CLASS_MIB} ${KNOWN_SEED} 1 hold`);
  const probing = new Conversation(attacker, `probe ${CLASS_MIB} ${KNOWN_SEED} ${OWN_SEED}`);
  await Promise.all([holding.hear('sum').then(() => holding.hear('holding')), probing.hear('written')]);
  await untilSettled(host, WAIT);
  const work = counted(start, await managerCounters(host));
  await probing.say('');
  const held = (await probing.hear('A')).map(Number);
  const notHeld = (await probing.hear('B')).map(Number);
  await probing.end();
  await holding.say('');
  const [, sum] = await holding.hear('sum');
  if (sum !== patternSum(CLASS_MIB, KNOWN_SEED)) throw new Error('the victim’s memory is not what it wrote');
  return { auc: auc(held, notHeld), samples: held.length, held: spread(held), notHeld: spread(notHeld), work };
}

const between = await probe('victims', 'attackers');
const inside = await probe('default', 'default');
for (const [where, { auc: result, held, notHeld, work }] of [
  ['between domains', between],
  ['inside a domain', inside],
] as const) {
  process.stderr.write(
    `${where}: AUC ${result.auc.toFixed(3)} ± ${result.standardError.toFixed(3)}; held p50 ${held.p50 / 10} µs, not held p50 ${notHeld.p50 / 10} µs; merged ${work?.mergedPages ?? 'nothing: there is no worker'}\n`,
  );
}
report(
  `what an attacker’s writes tell, ${between.samples} samples per class`,
  [
    { name: 'AUC between domains, end of its 95 % interval', value: between.auc.upper, unit: '', bar: 0.55, atMost: true },
    { name: 'AUC of the same probe inside a domain', value: inside.auc.auc, unit: '', bar: 0.9, atMost: false },
    { name: 'samples per class', value: Math.min(between.samples, inside.samples), unit: '', bar: 5_000, atMost: false },
  ],
  { between, inside },
);
