/** `shoal snapshot`: saves machines, which their host does, and looks after the store of snapshots, which needs no host. */
import { Command, type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { ShoalError } from '../base/errors.ts';
import { formatSize } from '../host/size.ts';
import { openSnapshots, type SnapshotInfo, snapshotsFolder } from '../host/snapshots.ts';
import { connect } from './connection.ts';
import { CliError, ExitCode } from './exit-code.ts';
import { interruptible } from './interruptible.ts';
import { formatAge, printJson, printTable } from './table.ts';

const ID_DIGITS = 12;
const PAGE_BYTES = 4096;

export const storeOption = () =>
  new Option('--store <folder>', 'where the snapshots are (default: snapshots/ in SHOAL_DATA, else in ~/.local/share/shoal)');
const open = (folder: string | undefined, create = false) => openSnapshots(folder ?? snapshotsFolder(), { create });

export function snapshotCommand(): CommandUnknownOpts {
  const command = new Command('snapshot')
    .summary('save machines; list, verify, export, import, remove and prune snapshots')
    .description('Snapshots of machines, kept page by page, each page once. `shoal restore` makes machines of them.');
  for (const verb of [
    createCommand(),
    listCommand(),
    verifyCommand(),
    exportCommand(),
    importCommand(),
    removeCommand(),
    pruneCommand(),
  ]) {
    command.addCommand(verb);
  }
  return command;
}

function createCommand(): CommandUnknownOpts {
  return new Command('create')
    .description('save a machine: memory, devices and disks of one instant. It runs on. Prints the id of the snapshot')
    .argument('<machine>', 'name or id of a machine that runs or is paused')
    .argument('[name]', 'name of the snapshot (default: the machine’s)')
    .addOption(storeOption())
    .option('--json', 'one line of JSON')
    .option('-q, --quiet', 'no progress on stderr')
    .action(async (machine, name, { store: folder, json, quiet }) => {
      const vm = await (await connect()).vm(machine);
      const options = { ...(name !== undefined && { name }), ...(folder && { folder }) };
      const saved = await interruptible(
        (signal) => vm.snapshot({ ...options, signal }),
        quiet ? null : `${vm.name} is being saved`,
      );
      if (json) printJson(saved);
      else process.stdout.write(`${saved.id}\n`);
      const { pausedMs, addedBytes } = saved;
      if (!(json || quiet)) process.stderr.write(`pause ${pausedMs.toFixed(1)} ms, ${formatSize(addedBytes)} added\n`);
    });
}

function listCommand(): CommandUnknownOpts {
  return new Command('ls')
    .alias('list')
    .description('list snapshots by time')
    .addOption(storeOption())
    .option('--json', 'one line of JSON')
    .action(async ({ store, json }) => {
      const snapshots = await listed(store);
      if (json) return printJson(snapshots);
      printTable([['ID', 'NAME', 'RAM', 'IN USE', 'ADDED', 'AGE', 'PARENT'], ...snapshots.map(rowOf)]);
    });
}

function verifyCommand(): CommandUnknownOpts {
  return new Command('verify')
    .description('read snapshots from end to end and check every page; all of them unless some are named')
    .argument('[snapshot...]', 'names, ids or their first digits')
    .addOption(storeOption())
    .option('--json', 'one line of JSON')
    .action(async (names, { store: folder, json }) => {
      const store = await open(folder);
      const ids = names.length > 0 ? names.map((name) => store.resolve(name)) : store.list().map(({ id }) => id);
      const results = ids.map((id) => {
        try {
          return { id, ok: true, ...store.verify(id) };
        } catch (error) {
          if (!(error instanceof ShoalError)) throw error;
          return { id, ok: false, problem: error.message };
        }
      });
      if (json) printJson(results);
      else
        for (const one of results)
          process.stdout.write(`${one.id}  ${'problem' in one ? one.problem : `ok, ${one.storedPages} pages`}\n`);
      const damaged = results.filter(({ ok }) => !ok).length;
      if (damaged > 0) throw new CliError(`${damaged} of ${results.length} snapshots cannot be used.`, ExitCode.error);
    });
}

function exportCommand(): CommandUnknownOpts {
  return new Command('export')
    .description('write a snapshot to one file that needs nothing else')
    .argument('<snapshot>', 'name, id or its first digits')
    .argument('<file>')
    .addOption(storeOption())
    .action(async (name, file, { store: folder }) => {
      const store = await open(folder);
      store.export(store.resolve(name), file);
      process.stdout.write(`${file}\n`);
    });
}

function importCommand(): CommandUnknownOpts {
  return new Command('import')
    .description('take in a snapshot from a file that `snapshot export` wrote')
    .argument('<file>')
    .addOption(storeOption())
    .action(async (file, { store: folder }) => {
      process.stdout.write(`${(await open(folder, true)).import(file)}\n`);
    });
}

function removeCommand(): CommandUnknownOpts {
  return new Command('rm')
    .alias('remove')
    .description('remove snapshots; machines that are restored from one go on')
    .argument('<snapshot...>', 'names, ids or their first digits')
    .addOption(storeOption())
    .action(async (names, { store: folder }) => {
      const store = await open(folder);
      for (const name of names) {
        const id = store.resolve(name);
        store.remove(id);
        process.stdout.write(`${id}\n`);
      }
    });
}

function pruneCommand(): CommandUnknownOpts {
  return new Command('prune')
    .description('give the disk back what no snapshot needs any more')
    .addOption(storeOption())
    .option('--json', 'one line of JSON')
    .action(async ({ store, json }) => {
      const result = (await open(store)).prune();
      if (json) printJson(result);
      else
        process.stdout.write(
          `${formatSize(result.freedBytes)} freed, ${result.removedPacks} packs removed, ${result.newPacks} written\n`,
        );
    });
}

/** A folder without snapshots has none. */
async function listed(folder: string | undefined): Promise<SnapshotInfo[]> {
  try {
    return (await open(folder)).list();
  } catch (error) {
    if (error instanceof ShoalError && error.code === 'not-found') return [];
    throw error;
  }
}

function rowOf({ id, name, memoryPages, storedPages, addedBytes, createdMs, parent, damage }: SnapshotInfo): string[] {
  if (damage !== null) return [id.slice(0, ID_DIGITS), '-', '-', '-', '-', '-', damage];
  const sizes = [memoryPages * PAGE_BYTES, storedPages * PAGE_BYTES, addedBytes].map(formatSize);
  return [id.slice(0, ID_DIGITS), name, ...sizes, formatAge(createdMs), parent?.slice(0, ID_DIGITS) ?? '-'];
}
