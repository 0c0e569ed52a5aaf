/** The store of snapshots: what other layers may use of it. */
export type { SnapshotDescription, SnapshotState } from './snapshot-file.ts';
export type { PageLocation, SnapshotReader, StoredPage } from './snapshot-reader.ts';
export { type SnapshotInfo, SnapshotStore } from './snapshot-store.ts';
export type { SnapshotWriter } from './snapshot-writer.ts';
