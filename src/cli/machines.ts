/** The same verb for several machines: each is tried, each failure is told, and the worst decides how we end. */
import type { Vm } from '../host/index.ts';
import { connect } from './connection.ts';
import { exitCodeOf } from './exit-code.ts';

export async function forEachMachine(names: readonly string[], verb: (vm: Vm) => Promise<unknown>): Promise<void> {
  const host = await connect();
  const outcomes = await Promise.allSettled(names.map(async (name) => verb(await host.vm(name))));
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.status === 'fulfilled') {
      process.stdout.write(`${names[index]}\n`);
    } else {
      process.stderr.write(`shoal: ${(outcome.reason as Error).message}\n`);
      process.exitCode = Math.max(Number(process.exitCode ?? 0), exitCodeOf(outcome.reason));
    }
  }
}
