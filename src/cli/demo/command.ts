/** `shoal demo`, which is also `npm start`: eight Linux guests in one process, promised twice the memory that there is, and forks of one. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { resolveImage } from '../../host/images.ts';
import { Host } from '../../host/index.ts';
import { CliError, ExitCode } from '../exit-code.ts';
import { countOption, sizeOption } from '../options.ts';
import { Progress } from '../progress.ts';
import { onTerminal } from '../terminal.ts';
import { startDisplay } from './display.ts';
import { forkFirstGuest } from './forks.ts';
import { newModel } from './model.ts';
import { offerShell } from './ninth-guest.ts';
import { allWell, makeReport, renderSummary } from './report.ts';
import { runScenario } from './scenario.ts';

const IMAGE = 'debian-mini';
/** The report's numbers are of idle guests: so long after the last command. */
const SETTLE_MS = 10_000;

interface DemoFlags {
  guests: number;
  memory: number;
  pool: number;
  json?: true;
}

export function demoCommand(): CommandUnknownOpts {
  return new Command('demo')
    .summary('watch eight Linux guests share one pool')
    .description(
      'Eight Debian guests of 256 MiB each in a pool of 1 GiB: each proves its memory, and gives it back.\n' +
        'Then the first one is forked twenty times: how long that took, and what the resident memory of the process grew by.',
    )
    .option('--guests <n>', 'number of guests', countOption, 8)
    .option('-m, --memory <size>', 'promised memory of each', sizeOption, 256 * 2 ** 20)
    .option('--pool <size>', 'size of the pool', sizeOption, 2 ** 30)
    .option('--json', 'end with one line of JSON, ten seconds after the last command')
    .action(runDemo);
}

async function runDemo(flags: DemoFlags): Promise<void> {
  const live = onTerminal() && !flags.json && process.env.CI === undefined;
  const controller = new AbortController();
  const interrupt = (): void => controller.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const aborted = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(new CliError('', ExitCode.interrupted)));
  });
  aborted.catch(() => {});
  const progress = new Progress();
  const image = await resolveImage(IMAGE, { onProgress: progress.onBuild, signal: controller.signal }).finally(() =>
    progress.clear(),
  );
  await using host = await Host.open({ memory: flags.pool, templates: false });
  const demo = playDemo(host, flags, live, image.busyboxSha256, controller.signal);
  await Promise.race([demo, aborted]);
}

async function playDemo(host: Host, flags: DemoFlags, live: boolean, busyboxSha256: string, signal: AbortSignal): Promise<void> {
  const model = newModel(flags.guests);
  const display = await startDisplay(host, model, flags.json ? 'json' : live ? 'live' : 'lines');
  try {
    display.emit(`starting ${flags.guests} guests in pairs`);
    await runScenario(host, model, { image: IMAGE, memoryBytes: flags.memory, busyboxSha256, signal, emit: display.emit });
    if (!signal.aborted) await forkFirstGuest(host, model, display.emit);
    if (flags.json) await sleep(SETTLE_MS, undefined, { signal });
  } finally {
    await display.stop();
  }
  const report = makeReport(model, await host.memory());
  if (flags.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else process.stdout.write(`\n${renderSummary(report)}\n`);
  if (live) await offerShell(host, { image: IMAGE, memory: flags.memory, name: `g${flags.guests + 1}` });
  if (!allWell(report)) process.exitCode = ExitCode.error;
}
