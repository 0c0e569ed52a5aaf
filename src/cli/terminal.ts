/**
 * Our terminal lent to a guest: raw input, output, window size. Whatever happens, it is given back as it was, on errors, signals and exit
 * too.
 */
import { EscapeKey } from './escape-key.ts';
import { writeAll } from './stdio.ts';

/** The guest's end: a console attachment, or a command with a terminal. */
export interface GuestTerminal {
  readonly output: AsyncIterable<Uint8Array>;
  write(data: Uint8Array): Promise<void>;
  resize(columns: number, rows: number): void;
}

export function onTerminal(): boolean {
  return process.stdin.isTTY === true && process.stdout.isTTY === true;
}

/** A terminal that does not know its size says 0. */
export function terminalSize(): { columns: number; rows: number } {
  return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 };
}

/** Connects our terminal with the guest's until the guest ends it or the user leaves with the escape key. */
export async function lendTerminal(guest: GuestTerminal): Promise<'ended' | 'left'> {
  const { stdin, stdout } = process;
  const left = Promise.withResolvers<'left'>();
  const escapeKey = new EscapeKey();
  const onData = (typed: Buffer): void => {
    const { forward, leave } = escapeKey.take(typed);
    if (forward.length > 0) guest.write(forward).catch(() => {});
    if (leave) left.resolve('left');
  };
  const onResize = (): void => guest.resize(terminalSize().columns, terminalSize().rows);
  const restore = (): void => {
    if (stdin.isTTY) stdin.setRawMode(false);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    restore();
    // Ours was the only handler: the default action, as if there had been none.
    process.removeListener(signal, onSignal);
    process.kill(process.pid, signal);
  };
  const signals: NodeJS.Signals[] = ['SIGTERM', 'SIGHUP'];
  process.on('exit', restore);
  for (const signal of signals) process.on(signal, onSignal);
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on('data', onData);
  // Somebody may have paused it before, and then a listener alone does not wake it.
  stdin.resume();
  stdout.on('resize', onResize);
  onResize();
  try {
    return await Promise.race([print(guest.output), left.promise]);
  } finally {
    stdin.off('data', onData);
    stdout.off('resize', onResize);
    stdin.pause();
    restore();
    process.off('exit', restore);
    for (const signal of signals) process.off(signal, onSignal);
  }
}

async function print(output: AsyncIterable<Uint8Array>): Promise<'ended'> {
  for await (const chunk of output) await writeAll(process.stdout, chunk);
  return 'ended';
}
