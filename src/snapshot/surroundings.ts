/** What the store asks of the process around it, beside files: who we are, who still lives, time and chance. Tests bring their own. */
import { randomBytes } from 'node:crypto';
import { isAlive, startTime } from '../platform/node/process-life.ts';
import { type Files, nodeFiles } from './files.ts';

export interface Surroundings {
  readonly files: Files;
  /** This process, as no other was or will be called: letters, digits, dashes. */
  readonly owner: string;
  /** Whether the process of this name still runs. */
  isAlive(owner: string): boolean;
  /** Since 1970. */
  nowMs(): number;
  random(bytes: number): Uint8Array;
  /** Blocks. */
  sleep(ms: number): void;
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));

export const nodeSurroundings: Surroundings = {
  files: nodeFiles,
  get owner() {
    return `${process.pid}-${startTime(process.pid)}`;
  },
  isAlive(owner) {
    const [pid, start] = owner.split('-');
    return /^\d+$/.test(pid) && isAlive(Number(pid)) && startTime(Number(pid)) === start;
  },
  nowMs: Date.now,
  random: randomBytes,
  sleep: (ms) => void Atomics.wait(sleeper, 0, 0, ms),
};
