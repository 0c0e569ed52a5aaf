/** What the main thread orders of the snapshot thread, and what it is told. One order at a time is carried out; answers name the order. */
import type { IoChannel, SavedPart, SealedLayer, SharedImage } from '../../disk/index.ts';
import type { ArenaMap } from '../../layout/arena.ts';
import type { StoreSetup } from '../../page-store/index.ts';
import type { VmConfig } from '../types.ts';
import type { PackedState } from '../vcpu-thread/machine-state.ts';
import type { WireError } from '../vcpu-thread/messages.ts';

/** What the snapshot thread is started with. */
export interface SnapshotSetup {
  readonly memory: WebAssembly.Memory;
  readonly map: ArenaMap;
  readonly store: StoreSetup;
  /** Its ring to the I/O thread, which has snapshots open that are not listed any more. */
  readonly io: IoChannel;
}

/** A disk as it was at the cut: nobody writes into these layers any more. */
export interface FrozenDisk {
  readonly image: SharedImage;
  /** The newest first; empty for a disk that is read-only. */
  readonly layers: readonly SealedLayer[];
  readonly saved?: SavedPart;
}

/** A machine that nothing changes: a fork that never runs. */
export interface FrozenMachine {
  /** In host-memory's table. */
  readonly slot: number;
  readonly config: VmConfig;
  readonly images: readonly SharedImage[];
  readonly disks: readonly FrozenDisk[];
  readonly state: PackedState;
}

export interface SaveOrder {
  readonly folder: string;
  readonly name: string;
  /** Id of a snapshot that this one is saved as a difference to, should it be there still. */
  readonly parent: string | null;
  /** The epoch that began with the parent's cut, in the same life of the machine; null: it is not known. */
  readonly since: number | null;
  /** Plain data that `open` gives back. */
  readonly about: unknown;
  readonly machine: FrozenMachine;
  /** Words: see PAGES_DONE and what follows it. */
  readonly progress: SharedArrayBuffer;
}

/** Words of `progress`: pages that were looked at, of how many, and whether it is given up. */
export const PAGES_DONE = 0;
export const PAGES_TOTAL = 1;
export const GIVEN_UP = 2;
export const PROGRESS_BYTES = 12;

export interface Saved {
  readonly id: string;
  readonly storedPages: number;
  readonly addedBytes: number;
}

/** Where a disk's pages lie in a snapshot. */
export type OpenedDisk = Omit<SavedPart, 'image'>;

/** A snapshot as a machine is made of it. */
export interface Opened {
  readonly id: string;
  readonly pages: number;
  /** The name is that of the machine that was saved. */
  readonly config: VmConfig;
  readonly about: unknown;
  /** Files that are not in the snapshot. */
  readonly images: readonly { readonly path: string; readonly fingerprint: string }[];
  /** Bitmaps of the machine's RAM. */
  readonly stored: SharedArrayBuffer;
  readonly ballooned: SharedArrayBuffer;
  /** One for each disk of the configuration; null: it is read-only. */
  readonly disks: readonly (OpenedDisk | null)[];
  readonly state: PackedState;
  readonly portsInUse: readonly number[];
}

export type ToSnapshots =
  | { readonly kind: 'save'; readonly number: number; readonly order: SaveOrder }
  | { readonly kind: 'open'; readonly number: number; readonly folder: string; readonly snapshot: string }
  /** As `mergeLayers`. */
  | {
      readonly kind: 'merge';
      readonly number: number;
      readonly upper: SealedLayer;
      readonly lower: SealedLayer;
      readonly start: number;
    };

/** Of a merge: where it goes on. */
export type OrderResult = Saved | Opened | number | null;

export type FromSnapshots =
  | { readonly kind: 'done'; readonly number: number; readonly result: OrderResult }
  | { readonly kind: 'failed'; readonly number: number; readonly error: WireError };
