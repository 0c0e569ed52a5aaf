/** `shoal doctor`: can this machine run guests, and what is missing. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { ExitCode } from './exit-code.ts';
import { printJson } from './table.ts';

const MARKS = { ok: 'ok', warning: 'note', failed: 'FAILED' } as const;

export function doctorCommand(): CommandUnknownOpts {
  return new Command('doctor')
    .summary('check what this machine can do')
    .description('Checks the runtime, memory return, image building, disk, host and images. Exits 1 when guests cannot run.')
    .option('--json', 'one line of JSON')
    .action(async ({ json }) => {
      const { examineMachine } = await import('../host/doctor.ts');
      const checks = await examineMachine();
      if (json) printJson(checks);
      else
        for (const { name, state, detail } of checks)
          process.stdout.write(`${MARKS[state].padEnd(7)} ${name.padEnd(14)} ${detail}\n`);
      if (checks.some((check) => check.state === 'failed')) process.exitCode = ExitCode.error;
    });
}
