/** `shoal attach`: our terminal on a machine's console. */

import { Buffer } from 'node:buffer';
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { connect } from './connection.ts';
import { ESCAPE_HINT } from './escape-key.ts';
import { stdinIsGiven, writeAll } from './stdio.ts';
import { lendTerminal, onTerminal } from './terminal.ts';

/** So much of what the console showed last is shown again, that one sees where one is. */
const REPLAY_BYTES = 2048;

export function attachCommand(): CommandUnknownOpts {
  return new Command('attach')
    .summary('our terminal on a machine’s console')
    .description(`Attaches to the console of a machine; others may be attached too. ${ESCAPE_HINT}, and the machine goes on.`)
    .argument('<machine>', 'name or id')
    .action(async (machine) => {
      const vm = await (await connect()).vm(machine);
      using session = await vm.console.attach({ replayBytes: REPLAY_BYTES });
      if (onTerminal()) {
        process.stderr.write(`${vm.name}: ${ESCAPE_HINT}\r\n`);
        const how = await lendTerminal({
          output: session.output,
          write: (data) => session.write(data),
          resize: (columns, rows) => session.resize(columns, rows),
        });
        process.stderr.write(how === 'left' ? '\r\n' : `\r\n${vm.name} has stopped.\r\n`);
        return;
      }
      if (stdinIsGiven()) void typeStdin(session);
      process.once('SIGINT', () => session.close());
      for await (const chunk of session.output) await writeAll(process.stdout, chunk);
    });
}

async function typeStdin(session: { write(data: Uint8Array): Promise<void>; close(): void }): Promise<void> {
  for await (const chunk of process.stdin) await session.write(Buffer.from(chunk as Buffer));
}
