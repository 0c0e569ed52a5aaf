/** `shoal host`: the process that owns the pool. */
import { resolve } from 'node:path';
import { Command, type CommandUnknownOpts, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { ShoalError } from '../base/errors.ts';
import type { SwapSettings } from '../host/host.ts';
import { formatMetricsAddress, type MetricsAddress, parseMetricsAddress } from '../host/metrics-server.ts';
import type { HostEvent } from '../host/protocol.ts';
import { formatSize } from '../host/size.ts';
import { connect, startHost, tryConnect } from './connection.ts';
import { type ManagerFlags, managerArguments, managerSettings, withManagerOptions } from './manager-options.ts';
import { countOption, sizeOption } from './options.ts';
import { defaultPoolBytes } from './pool-size.ts';
import { printJson } from './table.ts';

/** A host that was started for one command waits so long for its first machine. */
const FIRST_MACHINE_MS = 60_000;

interface HostFlags extends ManagerFlags {
  memory?: number;
  threads?: number;
  swap?: number;
  swapFile?: string;
  detach?: true;
  stop?: true;
  endWhenEmpty?: true;
  metrics?: MetricsAddress;
  json?: true;
}

export function hostCommand(): CommandUnknownOpts {
  const command = new Command('host')
    .summary('own a pool of memory and serve it to the other commands')
    .description('Owns a pool of memory and serves it on a socket until Ctrl-C, which powers all machines off.')
    .option('-m, --memory <size>', 'size of the pool, such as 4G (default: SHOAL_MEMORY, or half of this machine’s)', sizeOption)
    .option('--threads <n>', 'vCPU threads (default: one per core)', countOption)
    .option('--swap <size>', 'size of a swap file for what the pool has no room for, such as 8G (default: none)', sizeOption)
    .option('--swap-file <path>', 'where the swap file lies (default: without a name among the temporary files)');
  return withManagerOptions(command)
    .option('-d, --detach', 'go on in the background; the log lies beside the socket')
    .option('--stop', 'power off all machines of the running host and end it')
    .option('--metrics <address>', 'serve /metrics for Prometheus on HOST:PORT, or on a port of 127.0.0.1', metricsOption)
    .option('--json', 'say what runs as one line of JSON')
    .addOption(new Option('--end-when-empty').hideHelp())
    .action(runHost);
}

const swapSettings = (size: number, path: string | undefined): SwapSettings => ({ size, ...(path !== undefined && { path }) });

async function runHost(flags: HostFlags): Promise<void> {
  if (flags.swapFile !== undefined && flags.swap === undefined)
    throw new ShoalError('bad-argument', '--swap-file says where the swap file lies; give its size with --swap.');
  if (flags.stop) return stopHost();
  if (flags.detach) return detachHost(flags);
  const { HostProcess } = await import('../host/host-process.ts');
  const host = await HostProcess.start({
    memory: flags.memory ?? defaultPoolBytes(),
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    metrics: flags.metrics,
    ...(flags.swap === undefined ? {} : { swap: swapSettings(flags.swap, flags.swapFile) }),
    manager: managerSettings(flags),
    ...(flags.endWhenEmpty ? { endWhenEmptyMs: FIRST_MACHINE_MS } : {}),
  });
  const info = await host.service.info();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (!flags.json) process.stdout.write('powering off\n');
      void host.close();
    });
  }
  // Who reads this may send a signal at once.
  const metrics = host.metrics && `http://${formatMetricsAddress(host.metrics)}/metrics`;
  if (flags.json) printJson({ socket: host.socket, ...info, ...(metrics === undefined ? {} : { metrics }) });
  else
    process.stdout.write(
      `shoal host ${info.version}: pool of ${formatSize(info.poolBytes)} on ${host.socket} (pid ${info.pid})${metrics === undefined ? '' : `, ${metrics}`}\n`,
    );
  void tellEvents(host.service.events());
  await host.closed;
}

/** On stderr, which is the log of a detached host. */
async function tellEvents(events: AsyncIterable<HostEvent>): Promise<void> {
  for await (const event of events) {
    const line = describeEvent(event);
    if (line !== undefined) process.stderr.write(`memory: ${line}\n`);
  }
}

/** Decisions are for whoever watches (`shoal top`), not for a log. */
function describeEvent(event: HostEvent): string | undefined {
  switch (event.kind) {
    case 'memory-available':
      return 'no machine waits any more';
    case 'memory-exhausted':
      return `the pool is exhausted and ${event.waiting.join(', ')} wait; stop a machine, or start a host with a larger pool`;
    case 'swap-full':
      return `the swap file of ${formatSize(event.capacityBytes)} is full; machines may have to wait for memory`;
    case 'swap-available':
      return `the swap file of ${formatSize(event.capacityBytes)} has room again`;
    case 'page-unreadable':
      return `${event.machine} waits for a page that cannot be read: ${event.reason}; it is tried again`;
    case 'page-readable':
      return `${event.machine} has the pages it waited for`;
    case 'decision':
      return undefined;
  }
}

function metricsOption(text: string): MetricsAddress {
  try {
    return parseMetricsAddress(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

async function detachHost(flags: HostFlags): Promise<void> {
  if ((await tryConnect()) !== undefined) {
    throw new ShoalError('host-running', 'A host is running already; use it, or end it with `shoal host --stop`.');
  }
  const args = [
    ...(flags.memory === undefined ? [] : ['--memory', String(flags.memory)]),
    ...(flags.threads === undefined ? [] : ['--threads', String(flags.threads)]),
    ...(flags.metrics === undefined ? [] : ['--metrics', formatMetricsAddress(flags.metrics)]),
    ...managerArguments(flags),
    ...(flags.swap === undefined ? [] : ['--swap', String(flags.swap)]),
    ...(flags.swapFile === undefined ? [] : ['--swap-file', resolve(flags.swapFile)]),
  ];
  const { host, log } = await startHost(args);
  const info = await host.info();
  if (flags.json) printJson({ log, ...info });
  else
    process.stdout.write(`shoal host ${info.version}: pool of ${formatSize(info.poolBytes)} (pid ${info.pid}), log in ${log}\n`);
}

async function stopHost(): Promise<void> {
  const host = await connect();
  const { pid } = await host.info();
  await host.shutdown();
  // The answer comes before the end; whoever asked wants the memory back when we return.
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
