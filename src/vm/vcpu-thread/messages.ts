/**
 * What the main thread and a vCPU thread say to each other beside `VmRequest`s: creation, and the bytes of ports.
 *
 * A vCPU thread never returns to its event loop; it takes messages with `receiveMessageOnPort` between slices, and the sender rings
 * its doorbell. Byte streams carry credit both ways: neither side may have more than `PORT_WINDOW` bytes of one port under way.
 */

import type { IoChannel, SavedPart, SealedLayer, SharedImage } from '../../disk/index.ts';
import type { ForkedMemory } from '../../guest-memory/fork.ts';
import type { ArenaMap } from '../../layout/arena.ts';
import type { StoreSetup } from '../../page-store/index.ts';
import type { ClientChannel } from '../translator-thread/channel.ts';
import type { TranslationSettings, VmProfile, VmState } from '../types.ts';
import type { PackedState } from './machine-state.ts';

/** Bytes of one port and direction that may be on their way unacknowledged. */
export const PORT_WINDOW = 256 * 1024;

/** A disk as the main thread opened it: the shared base image, and the private layer on top where it is writable, above those of its ancestors. */
export interface DiskSpec {
  readonly image: SharedImage;
  readonly layer?: SealedLayer;
  /** Sealed, the newest first. */
  readonly below?: readonly SealedLayer[];
  /** What the snapshot has of it that the machine, or an ancestor, was restored from. */
  readonly saved?: SavedPart;
}

/** All that a vCPU thread needs to make a machine; files are opened and checked by the main thread. */
export interface MachineSpec {
  /** The pool's number for the VM; messages name it. (Its slot in host-memory's VM table may change with every start.) */
  readonly vm: number;
  readonly memoryBytes: number;
  readonly kernel: SharedImage;
  /** Bytes that the kernel takes in memory, bss included. */
  readonly kernelImageSize: number;
  readonly initrd?: SharedImage;
  readonly commandLine: string;
  /** Changes when layers are sealed and merged. */
  disks: readonly DiskSpec[];
  /** The snapshot that it, or an ancestor, was restored from: where absent pages are. */
  readonly snapshot?: SharedImage;
  /** Sharing domain, 0 to DOMAIN_MAX. */
  readonly domain: number;
  readonly requests: SharedArrayBuffer;
}

/** What a machine that has lived before begins with: the memory of a fork, or that of its specification's snapshot. */
export interface MachineOrigin {
  readonly memory: ForkedMemory | RestoredMemory;
  readonly state: PackedState;
  readonly start: boolean;
}

/** Bitmaps of the pages that the snapshot has, and of those in its balloon. */
export interface RestoredMemory {
  readonly stored: SharedArrayBuffer;
  readonly ballooned: SharedArrayBuffer;
  /** Numbers of pages that are wanted first. */
  readonly prefetch: Uint32Array;
  /** They are wanted before it runs: answered by `brought`. */
  readonly eager: boolean;
}

/** Children to be made of a machine. */
export interface ForkOrder {
  /** The main thread's number for it. */
  readonly fork: number;
  /** The vCPU thread of each child. */
  readonly threads: readonly number[];
  /** For each disk a new layer that goes on top if the one that is there has to be sealed; null: it is read-only. */
  readonly layers: readonly (SealedLayer | null)[];
}

export interface ForkResult {
  /** One for each child. */
  readonly memories: readonly ForkedMemory[];
  readonly state: PackedState;
  /** Data ports that were in use. */
  readonly portsInUse: readonly number[];
  /** How long the parent stood still for it, ms. */
  readonly pausedMs: number;
  /** Of each disk whether its layer was sealed. */
  readonly sealed: readonly boolean[];
}

export type ToThread =
  | { readonly kind: 'create'; readonly spec: MachineSpec; readonly origin?: MachineOrigin }
  | { readonly kind: 'fork'; readonly vm: number; readonly order: ForkOrder }
  /** The sealed layer `file` of a disk has been merged into the one below; answered once it is used no more. */
  | { readonly kind: 'drop-layer'; readonly vm: number; readonly disk: number; readonly file: number }
  | { readonly kind: 'remove'; readonly vm: number }
  /** `opening` tells this opening of the port from those before. */
  | { readonly kind: 'open-port'; readonly vm: number; readonly port: number; readonly opening: number }
  | { readonly kind: 'close-port'; readonly vm: number; readonly port: number }
  /** The last VM that used this image is gone: drop its cached pages. */
  | { readonly kind: 'drop-image'; readonly image: SharedImage }
  | { readonly kind: 'input'; readonly vm: number; readonly port: number; readonly bytes: Uint8Array }
  | { readonly kind: 'end-input'; readonly vm: number; readonly port: number }
  /** The consumer on the main thread has taken this many bytes of the port's output. */
  | { readonly kind: 'consumed'; readonly vm: number; readonly port: number; readonly bytes: number }
  | { readonly kind: 'resize'; readonly vm: number; readonly columns: number; readonly rows: number }
  /** Look at what the machine executes, from now on or no longer; answered by a `profile` when it ends. */
  | { readonly kind: 'profile'; readonly vm: number; readonly on: boolean }
  | { readonly kind: 'close' };

export interface WireError {
  readonly code: string;
  readonly message: string;
}

export type FromThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'created'; readonly vm: number; readonly error?: WireError }
  /** The VM's slot and life in host-memory's table, by which any thread finds its account; null: it has no memory any more. */
  | { readonly kind: 'slot'; readonly vm: number; readonly life: number | null; readonly instructions: number }
  | { readonly kind: 'removed'; readonly vm: number }
  | { readonly kind: 'layer-dropped'; readonly vm: number }
  | { readonly kind: 'state'; readonly vm: number; readonly state: VmState; readonly reason?: string; readonly error?: WireError }
  /** A page that the VM needs cannot be read, and why; null: all can again. It waits. */
  | { readonly kind: 'unreadable'; readonly vm: number; readonly reason: string | null }
  /** All pages that an eager machine wanted are in memory, or why one cannot be. */
  | { readonly kind: 'brought'; readonly vm: number; readonly problem: string | null }
  | { readonly kind: 'returned'; readonly vm: number; readonly bytes: number }
  | { readonly kind: 'port-ready'; readonly vm: number; readonly port: number }
  /** The guest closed the port: what was sent before this message is all there is. */
  | { readonly kind: 'port-ended'; readonly vm: number; readonly port: number; readonly opening: number }
  | { readonly kind: 'output'; readonly vm: number; readonly port: number; readonly bytes: Uint8Array }
  /** The guest's queue has taken this many bytes of the port's input. */
  | { readonly kind: 'accepted'; readonly vm: number; readonly port: number; readonly bytes: number }
  | { readonly kind: 'log'; readonly vm: number; readonly bytes: Uint8Array }
  /** What was seen; null: the machine is off. */
  | { readonly kind: 'profile'; readonly vm: number; readonly profile: VmProfile | null }
  /** An order was carried out, or why not. */
  | {
      readonly kind: 'forked';
      readonly vm: number;
      readonly fork: number;
      readonly result: ForkResult | { readonly error: WireError; readonly sealed: readonly boolean[] };
    }
  | { readonly kind: 'closed' };

/** What a vCPU thread is started with. */
export interface ThreadSetup {
  readonly memory: WebAssembly.Memory;
  readonly map: ArenaMap;
  readonly threadIndex: number;
  /** This thread's rings to the I/O thread. */
  readonly io: IoChannel;
  /** What the memory worker asks of this thread (nominations.ts). */
  readonly nominations: SharedArrayBuffer;
  readonly store: StoreSetup;
  /** Null: nothing is translated. */
  readonly translation: ThreadTranslation | null;
}

export interface ThreadTranslation {
  readonly channel: ClientChannel;
  readonly settings: TranslationSettings;
}
