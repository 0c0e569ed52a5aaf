/** The store of snapshots for the layers above, loaded when first used, and where it is: a client that only talks to a host pays nothing for it. */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { SnapshotStore } from '../snapshot/index.ts';

export type { SnapshotInfo } from '../snapshot/index.ts';

/** snapshots/ in SHOAL_DATA, else in shoal/ in XDG_DATA_HOME, else in ~/.local/share/shoal. */
export function snapshotsFolder(): string {
  const data = process.env.SHOAL_DATA;
  const base = data ? resolve(data) : join(process.env.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'shoal');
  return join(base, 'snapshots');
}

/**
 * Opens the store in a folder. It blocks while it works: not for a process that runs machines.
 * @throws ShoalError `not-found` unless it is to be made
 */
export async function openSnapshots(folder: string, options: { readonly create: boolean }): Promise<SnapshotStore> {
  return (await import('../snapshot/index.ts')).SnapshotStore.open(folder, options);
}
