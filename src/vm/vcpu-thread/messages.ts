/**
 * What the main thread and a vCPU thread say to each other beside `VmRequest`s: creation, and the bytes of ports.
 *
 * A vCPU thread never returns to its event loop; it takes messages with `receiveMessageOnPort` between slices, and the sender rings
 * its doorbell. Byte streams carry credit both ways: neither side may have more than `PORT_WINDOW` bytes of one port under way.
 */

import type { IoChannel, LayerFile, SharedImage } from '../../disk/index.ts';
import type { ArenaMap } from '../../layout/arena.ts';
import type { StoreSetup } from '../../page-store/index.ts';
import type { ClientChannel } from '../translator-thread/channel.ts';
import type { TranslationSettings, VmProfile, VmState } from '../types.ts';

/** Bytes of one port and direction that may be on their way unacknowledged. */
export const PORT_WINDOW = 256 * 1024;

/** A disk as the main thread opened it: the shared base image, and the private layer on top where it is writable. */
export interface DiskSpec {
  readonly image: SharedImage;
  readonly layer?: LayerFile;
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
  readonly disks: readonly DiskSpec[];
  /** Sharing domain, 0 to DOMAIN_MAX. */
  readonly domain: number;
  readonly requests: SharedArrayBuffer;
}

export type ToThread =
  | { readonly kind: 'create'; readonly spec: MachineSpec }
  | { readonly kind: 'remove'; readonly vm: number }
  | { readonly kind: 'open-port'; readonly vm: number; readonly port: number }
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
  | { readonly kind: 'state'; readonly vm: number; readonly state: VmState; readonly reason?: string; readonly error?: WireError }
  /** A page that the VM needs cannot be read, and why; null: all can again. It waits. */
  | { readonly kind: 'unreadable'; readonly vm: number; readonly reason: string | null }
  | { readonly kind: 'returned'; readonly vm: number; readonly bytes: number }
  | { readonly kind: 'port-ready'; readonly vm: number; readonly port: number }
  /** The guest closed the port: what was sent before this message is all there is. */
  | { readonly kind: 'port-ended'; readonly vm: number; readonly port: number }
  | { readonly kind: 'output'; readonly vm: number; readonly port: number; readonly bytes: Uint8Array }
  /** The guest's queue has taken this many bytes of the port's input. */
  | { readonly kind: 'accepted'; readonly vm: number; readonly port: number; readonly bytes: number }
  | { readonly kind: 'log'; readonly vm: number; readonly bytes: Uint8Array }
  /** What was seen; null: the machine is off. */
  | { readonly kind: 'profile'; readonly vm: number; readonly profile: VmProfile | null }
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
