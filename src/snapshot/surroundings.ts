/** What the store asks of the process around it, beside files: who we are, who still lives, time and chance. Tests bring their own. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { codeOf, type Files, nodeFiles } from './files.ts';

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
    return /^\d+$/.test(pid) && runs(Number(pid)) && startTime(Number(pid)) === start;
  },
  nowMs: Date.now,
  random: randomBytes,
  sleep: (ms) => void Atomics.wait(sleeper, 0, 0, ms),
};

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

/** Start of a process in clock ticks since boot, so that a number used again is not taken for its former owner; 0 where unknown. */
function startTime(pid: number): string {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Field 22 of proc_pid_stat(5), counted after the command's name, which may hold anything.
    return line.slice(line.lastIndexOf(')') + 2).split(' ')[19] ?? '0';
  } catch {
    return '0';
  }
}
