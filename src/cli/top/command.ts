/** `shoal top`: pool, machines and the decisions about their memory, as they are made. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { type Host, ShoalError } from '../../host/index.ts';
import { connect } from '../connection.ts';
import { CliError, ExitCode } from '../exit-code.ts';
import { durationOption } from '../options.ts';
import { printJson } from '../table.ts';
import { Canvas } from './canvas.ts';
import { Choice } from './choice.ts';
import { SORT_KEYS, type SortKey } from './columns.ts';
import { TopModel } from './model.ts';
import { plainTable, renderTop } from './screen.ts';

interface TopFlags {
  sort: SortKey;
  interval: number;
  once?: true;
  json?: true;
}

export function topCommand(): CommandUnknownOpts {
  return new Command('top')
    .summary('watch the pool, its machines and what is decided about their memory')
    .description(
      'Shows the pool, the machines and the decisions of the memory manager until q. Without a terminal: the machines once as text, or with --json one line of JSON for each interval.',
    )
    .addOption(new Option('--sort <column>', 'what to sort machines by').choices(SORT_KEYS).default('private' as const))
    .option('--interval <time>', 'time between two looks, in seconds or with ms, s, m', durationOption, 1000)
    .option('--once', 'one look, then end')
    .option('--json', 'JSON instead of a screen, a line for each look')
    .action(runTop);
}

async function runTop(flags: TopFlags): Promise<void> {
  const host = await connect();
  if (flags.json) return printLines(host, flags);
  const model = new TopModel(await host.info(), await host.overview(), performance.now());
  const interactive = process.stdout.isTTY && process.stdin.isTTY && process.env['TERM'] !== 'dumb' && !flags.once;
  if (interactive) await watch(host, model, flags);
  else process.stdout.write(`${plainTable(model, { sort: flags.sort, reverse: false, nowMs: Date.now() })}\n`);
}

async function printLines(host: Host, { interval, once }: TopFlags): Promise<void> {
  // A reader that has seen enough ends us in silence.
  process.stdout.on('error', () => process.exit());
  for (;;) {
    printJson({ at: Date.now(), ...(await untilGone(host.overview())) });
    if (once) return;
    await sleep(interval);
  }
}

async function watch(host: Host, model: TopModel, { interval, sort }: TopFlags): Promise<void> {
  const { stdin, stdout } = process;
  const left = Promise.withResolvers<'quit' | 'interrupted'>();
  const choice = new Choice(sort);
  using canvas = new Canvas({
    stdin,
    stdout,
    draw: (columns, rows) =>
      renderTop(model, {
        columns,
        rows,
        sort: choice.sort,
        reverse: choice.reverse,
        offset: choice.offset,
        colour: stdout.hasColors(),
        nowMs: Date.now(),
        monotonicMs: performance.now(),
      }),
    onKey: (key) => {
      if (key === 'q' || key === 'end-of-input') left.resolve('quit');
      else if (key === 'ctrl-c') left.resolve('interrupted');
      else if (choice.onKey(key, model.machines.length)) canvas.draw();
    },
  });
  const ended = new AbortController();
  void follow(host, model, ended.signal);
  const sampling = sample(host, model, interval, () => canvas.draw(), ended.signal);
  try {
    if ((await Promise.race([left.promise, sampling])) === 'interrupted') process.exitCode = ExitCode.interrupted;
  } finally {
    ended.abort();
  }
}

/** Asks the host once an interval; while it owes an answer it is not asked again. Rejects when it is gone. */
async function sample(host: Host, model: TopModel, interval: number, onChange: () => void, ended: AbortSignal): Promise<null> {
  const { promise, reject } = Promise.withResolvers<null>();
  const look = (): void => {
    if (model.askedAtMs === null) {
      model.askedAtMs = performance.now();
      untilGone(host.overview()).then((overview) => {
        model.update(overview, performance.now());
        if (!ended.aborted) onChange();
      }, reject);
    } else onChange();
  };
  const timer = setInterval(look, interval);
  ended.addEventListener('abort', () => clearInterval(timer));
  return promise;
}

/** Events until the screen is closed. They are drawn with the next sample, so that a busy manager costs the terminal nothing. */
async function follow(host: Host, model: TopModel, ended: AbortSignal): Promise<void> {
  try {
    for await (const event of host.events({ signal: ended })) model.add(event, Date.now());
  } catch {
    // The samples find out what became of the host.
  }
}

async function untilGone<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof ShoalError) || error.code !== 'host-unreachable') throw error;
    throw new CliError('The host has ended; start one with `shoal host`.', ExitCode.error);
  }
}
