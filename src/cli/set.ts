/** `shoal set`: changes how the running host's memory manager works, or shows it. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { ShoalError } from '../host/index.ts';
import { connect } from './connection.ts';
import { managerSettings, withManagerOptions } from './manager-options.ts';
import { printJson, printTable } from './table.ts';

export function setCommand(): CommandUnknownOpts {
  const command = new Command('set')
    .summary('change how the running host looks for memory, or show it')
    .description(
      'Changes settings of the running host’s memory manager at once, and prints what is in force. Without options it only prints.',
    );
  return withManagerOptions(command)
    .option('--json', 'print the settings as JSON')
    .action(async ({ json, ...flags }) => {
      const host = await connect();
      const changes = managerSettings(flags);
      const settings = Object.keys(changes).length > 0 ? await host.configure(changes) : (await host.info()).manager;
      if (settings === null) throw new ShoalError('unsupported', 'This host has no memory manager that could be set.');
      if (json) return printJson(settings);
      printTable([
        ['fusion', settings.fusion ? 'on' : 'off'],
        ['scan-cpu', `${Math.round(settings.cpuShare * 1000) / 10} % of a core`],
        ['scan-target', `${settings.targetMs / 1000} s`],
        ['scan-quiet', `${settings.quietMs / 1000} s`],
      ]);
    });
}
