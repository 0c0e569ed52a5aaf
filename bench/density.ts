/**
 * How many guests fit: Debian guests that each hold 24 MiB of parsed JSON and answer one request a second, on Shoal, then under QEMU with KSM.
 *
 *   node tools/run.mjs bench/density.ts [--quick] [--shoal | --qemu] [--json]      GUESTS=24
 *
 * Each system is measured with a third of the guests and with all of them; what a guest costs is the slope between the two. How much of
 * what is equal Shoal found is judged by density/oracle.ts.
 */
import { spawnSync } from 'node:child_process';
import { measureQemu, type QemuResult } from './density/qemu.ts';
import { measureShoal, PASS_BYTES, type ShoalResult } from './density/shoal.ts';
import { guestsPerGib } from './density/workload.ts';
import { bytesPerCpuSecond } from './memory-worker.ts';
import { QEMU } from './qemu.ts';
import { type Check, report } from './report.ts';

const quick = process.argv.includes('--quick');
const MANY = Number(process.env.GUESTS ?? (quick ? 8 : 24));
const FEW = quick ? MANY / 2 : Math.round(MANY / 3);

if (spawnSync(QEMU, ['--version'], { stdio: 'ignore' }).status !== 0) {
  process.stderr.write(`This benchmark needs ${QEMU}: apt-get install qemu-system-misc\n`);
  process.exit(2);
}
// So that what is done at exit (KSM as it was, QEMU ended) is done.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

const shoal = process.argv.includes('--qemu') ? null : await measureShoal(FEW, MANY);
const qemu = process.argv.includes('--shoal') ? null : await measureQemu(FEW, MANY);

function checks(ours: ShoalResult | null, theirs: QemuResult | null): Check[] {
  const found = (ours?.judgement.found ?? Number.NaN) * 100;
  const first = (ours?.firstPass.judgement.found ?? Number.NaN) * 100;
  const passBytes = ours?.firstPass.passBytes ?? Number.NaN;
  const ksmRate = theirs?.work ? theirs.work.scannedBytes / (theirs.work.cpuMs / 1000) : Number.NaN;
  const rate = bytesPerCpuSecond(ours?.work ?? null) / ksmRate;
  const guestMemory = (ours?.populations[1].guestBytes ?? Number.NaN) / (theirs?.populations[1].guestBytes ?? Number.NaN);
  const density = ours && theirs ? guestsPerGib(ours.populations) / guestsPerGib(theirs.populations) : Number.NaN;
  return [
    { name: 'found of oracle', value: found, unit: '%', bar: 99, atMost: false },
    { name: 'found within one pass', value: first, unit: '%', bar: 90, atMost: false },
    { name: 'pass bytes', value: passBytes, unit: '× resident', bar: PASS_BYTES, atMost: true },
    { name: 'bytes hashed or compared per CPU-second', value: rate, unit: '× KSM’s', bar: 4, atMost: false },
    { name: 'guest memory', value: guestMemory, unit: '× QEMU+KSM’s', bar: 1, atMost: true },
    { name: 'guests per GiB', value: density, unit: '× QEMU+KSM’s', bar: 5, atMost: false },
  ];
}

report(`${MANY} guests that hold JSON, beside QEMU with KSM (${qemu?.ksm ?? 'not run'})`, checks(shoal, qemu), {
  guests: [FEW, MANY],
  shoal: shoal && { ...shoal, guestsPerGib: guestsPerGib(shoal.populations) },
  qemu: qemu && { ...qemu, guestsPerGib: guestsPerGib(qemu.populations) },
});
