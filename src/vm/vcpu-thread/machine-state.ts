/**
 * A machine at one instant, but for its memory and disks, as one piece of shared memory: all forks of an order have the same one, whichever threads they
 * go to, and each reads it when it begins to run.
 */
import { deserialize, serialize } from 'node:v8';
import type { SavedHart } from '../../cpu/index.ts';
import type { DeviceState } from '../../devices/device.ts';

/** What the host's side of a machine's ports was when it was forked. */
export interface SavedPorts {
  /** Data ports that somebody on the host had open: that is the parent's, so in the child nobody reads them. */
  readonly inUse: readonly number[];
  /** Bytes for the agent that the guest had not taken. */
  readonly agentInput: readonly Uint8Array[];
}

export interface MachineState {
  readonly hart: SavedHart;
  readonly devices: readonly DeviceState[];
  /** Guest time, ms. */
  readonly guestMs: number;
  readonly ports: SavedPorts;
}

export type PackedState = SharedArrayBuffer;

export function packState(state: MachineState): PackedState {
  const bytes = serialize(state);
  const packed = new SharedArrayBuffer(bytes.length);
  new Uint8Array(packed).set(bytes);
  return packed;
}

export const unpackState = (packed: PackedState): MachineState => deserialize(new Uint8Array(packed).slice()) as MachineState;
