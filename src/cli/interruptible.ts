/** What may take a while: says so once a second from the first one on, and Ctrl-C gives it up. */
import { CliError, ExitCode } from './exit-code.ts';
import { Progress } from './progress.ts';
import { formatSpan } from './table.ts';

/** Progress is shown so often, ms. */
const SHOWN_MS = 1000;

/** `says`: what is going on, or null: nothing is said. @throws CliError without a text, exit code 130, after Ctrl-C or SIGTERM */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>, says: string | null): Promise<T> {
  const progress = new Progress({ quiet: says === null });
  const controller = new AbortController();
  const interrupt = (): void => controller.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const began = performance.now();
  const show = (): void => {
    const passed = process.stderr.isTTY ? `, ${formatSpan(performance.now() - began)} so far` : '';
    progress.show(`${says}${passed}`);
  };
  const timer = setInterval(show, SHOWN_MS);
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? new CliError('', ExitCode.interrupted) : error;
  } finally {
    clearInterval(timer);
    progress.clear();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}
