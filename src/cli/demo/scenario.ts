/**
 * What happens in the demo: guests start in staggered pairs, and each says who it is, hashes its busybox, writes memory with a pattern of its
 * own and verifies it. When all have, one after another frees it, so that each can be seen to come back to the host.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import type { Host, Vm, VmMemory } from '../../host/index.ts';
import { formatSize } from '../../host/size.ts';
import type { DemoModel, GuestView } from './model.ts';

export const PATTERN_BYTES = 32 * 2 ** 20;
/** The root file system is in memory, so a file there is memory that the guest took. */
const PATTERN_FILE = '/tmp/pattern';
/** The pattern repeats after so many bytes, which no page boundary divides: its pages all differ. */
const BLOCK_BYTES = 100_003;
/** The guest reports free pages about every two seconds. */
const RETURN_TIMEOUT_MS = 15_000;
/** Of the freed bytes, what must be back to call them returned; the rest is slack of page blocks. */
const RETURNED_SHARE = 0.9;

export interface ScenarioOptions {
  readonly image: string;
  readonly memoryBytes: number;
  readonly busyboxSha256: string;
  readonly signal: AbortSignal;
  /** A line for people, of something that just happened. */
  emit(event: string): void;
}

/** Resolves when every guest has done its work or failed; a failure is in its view. */
export async function runScenario(host: Host, model: DemoModel, options: ScenarioOptions): Promise<void> {
  const vms: Vm[] = [];
  const work: Promise<void>[] = [];
  for (let pair = 0; pair < model.guests.length && !options.signal.aborted; pair += 2) {
    const up = model.guests.slice(pair, pair + 2).map(async (guest) => {
      const vm = await startGuest(host, guest, options);
      vms.push(vm);
      await vm.ready();
      work.push(followGuest(model, guest, vm, options));
    });
    // The next pair starts when the first of this one is up; one that fails does not stop the rest.
    const tracked = up.map((start, index) => start.catch((error: unknown) => fail(model.guests[pair + index], error, options)));
    work.push(...tracked);
    await Promise.any([...up, Promise.all(tracked)]);
  }
  // Guests that are still starting add their work while we wait.
  for (let index = 0; index < work.length; index++) await work[index];
  for (const guest of model.guests) {
    const vm = vms.find(({ name }) => name === guest.name);
    if (vm === undefined || guest.phase !== 'holding' || options.signal.aborted) continue;
    await freePattern(host, guest, vm, options).catch((error: unknown) => fail(guest, error, options));
  }
}

async function startGuest(host: Host, guest: GuestView, options: ScenarioOptions): Promise<Vm> {
  guest.phase = 'booting';
  return host.run({ image: options.image, memory: options.memoryBytes, name: guest.name });
}

async function followGuest(model: DemoModel, guest: GuestView, vm: Vm, options: ScenarioOptions): Promise<void> {
  try {
    await introduce(model, guest, vm, options);
    await hashBusybox(guest, vm, options);
    await provePattern(guest, vm, Number(guest.name.slice(1)));
    guest.commandsOk = true;
    guest.phase = 'holding';
  } catch (error) {
    fail(guest, error, options);
  }
}

function fail(guest: GuestView, error: unknown, options: ScenarioOptions): void {
  if (guest.phase === 'failed' || options.signal.aborted) return;
  guest.phase = 'failed';
  guest.commandsOk = false;
  guest.error = error instanceof Error ? error.message : String(error);
  options.emit(`${guest.name} failed: ${guest.error}`);
}

async function introduce(model: DemoModel, guest: GuestView, vm: Vm, options: ScenarioOptions): Promise<void> {
  const line = await run(vm, 'uname -a');
  guest.firstLineMs = performance.now() - model.startedAtMs;
  model.kernel ??= line.split(' ')[2];
  options.emit(`${guest.name} ${line}`);
}

async function hashBusybox(guest: GuestView, vm: Vm, options: ScenarioOptions): Promise<void> {
  guest.phase = 'hashing';
  const [hash] = (await run(vm, 'sha256sum /lib/shoal/busybox')).split(' ');
  guest.busyboxOk = hash === options.busyboxSha256;
  if (!guest.busyboxOk) throw new Error(`its busybox has the hash ${hash}, the image says ${options.busyboxSha256}`);
}

/** The guest writes 32 MiB that no other guest has, and tells the checksum of what it reads back. */
async function provePattern(guest: GuestView, vm: Vm, number: number): Promise<void> {
  const line = patternLine(number);
  const copies = Math.ceil(PATTERN_BYTES / BLOCK_BYTES);
  guest.phase = 'writing';
  await run(
    vm,
    `cd /tmp && yes '${line}' | head -c ${BLOCK_BYTES} >block && cat $(yes block | head -n ${copies}) >${PATTERN_FILE} && truncate -s ${PATTERN_BYTES} ${PATTERN_FILE} && rm block`,
  );
  guest.phase = 'verifying';
  const [checksum] = (await run(vm, `crc32 ${PATTERN_FILE}`)).split(' ');
  const expected = crc32(patternBytes(line)).toString(16).padStart(8, '0');
  guest.patternOk = checksum === expected;
  if (!guest.patternOk) throw new Error(`its pattern reads back with the checksum ${checksum}, not ${expected}`);
}

async function freePattern(host: Host, guest: GuestView, vm: Vm, options: ScenarioOptions): Promise<void> {
  guest.phase = 'freeing';
  const before = await vm.memory();
  const residentBefore = (await host.memory()).residentBytes;
  await run(vm, `rm ${PATTERN_FILE}`);
  const freedAt = performance.now();
  let back = 0;
  while (back < PATTERN_BYTES * RETURNED_SHARE) {
    const passed = performance.now() - freedAt;
    if (options.signal.aborted) return;
    if (passed > RETURN_TIMEOUT_MS) break;
    await sleep(50);
    back = contentBytes(before) - contentBytes(await vm.memory());
  }
  const seconds = ((performance.now() - freedAt) / 1000).toFixed(1);
  const resident = (await host.memory()).residentBytes - residentBefore;
  const change = `${resident > 0 ? '+' : ''}${formatSize(resident)}`;
  options.emit(`${guest.name} freed ${formatSize(PATTERN_BYTES)} → host RSS ${change} after ${seconds} s`);
  guest.phase = 'idle';
}

/** Pages that hold something, wherever that is: equal ones may have been merged meanwhile, and unused ones put away. */
const contentBytes = ({ privateBytes, sharedBytes, absentBytes }: VmMemory): number => privateBytes + sharedBytes + absentBytes;

/** Its stdout without the last newline. Throws when it fails. */
export async function run(vm: Vm, code: string): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.exec(code);
  if (exitCode !== 0) throw new Error(`“${code}” exited with ${exitCode}: ${stderr.trim()}`);
  return stdout.trimEnd();
}

export function patternLine(number: number): string {
  return `guest ${number} of the shoal keeps its own memory, and no other guest reads it`;
}

/** What the guest writes: `line` repeated to a block, the block repeated to the pattern. */
export function patternBytes(line: string): Buffer {
  return Buffer.alloc(PATTERN_BYTES, Buffer.alloc(BLOCK_BYTES, `${line}\n`));
}
