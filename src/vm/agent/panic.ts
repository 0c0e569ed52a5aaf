/** What a kernel that died said of it, from a guest's console. It reads text that the guest wrote: good for a sentence, not for a decision. */
import type { VmHandle } from '../types.ts';

const PANIC = /Kernel panic - not syncing: ([^\r\n]{1,200})/g;

/** `; its kernel panicked: …`, or nothing. */
export function panicOf(vm: Pick<VmHandle, 'consoleLog'>): string {
  const last = [...Buffer.from(vm.consoleLog()).toString('latin1').matchAll(PANIC)].at(-1)?.[1];
  return last === undefined ? '' : `; its kernel panicked: ${last.trim()}`;
}
