/** Which processes of this machine live: for locks and leftovers that name their owner. */
import { readFileSync } from 'node:fs';

/**
 * A process that has ended is not alive, also when nobody asked after it: where a container's first process asks after nobody, a host that was killed
 * keeps its number for ever.
 */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const { state, threads } = statusOf(pid);
  // While another thread is in the middle of a system call, it still does what it was doing.
  return !(state === 'Z' && threads === '1');
}

/** Start of a process in clock ticks since boot, so that a number used again is not taken for its former owner; 0 where unknown. */
export const startTime = (pid: number): string => statusOf(pid).start ?? '0';

/** Nothing where the system has no /proc. */
function statusOf(pid: number): { readonly state?: string; readonly threads?: string; readonly start?: string } {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Fields 3, 20 and 22 of proc_pid_stat(5), counted after the command's name, which may hold anything.
    const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0], threads: fields[17], start: fields[19] };
  } catch {
    return {};
  }
}
