/** Reads from a busybox binary which applets it has, without running it: it is of another architecture. */
import { ShoalError } from '../base/errors.ts';

/** Busybox keeps the names sorted, one after the other, from `[` on, each with a final NUL (applets.c, applet_names). */
const FIRST_NAMES = Buffer.from('[\0[[\0');

export function busyboxApplets(binary: Buffer): string[] {
  const start = binary.indexOf(FIRST_NAMES);
  const names: string[] = [];
  for (let at = start; at >= 0; ) {
    const end = binary.indexOf(0, at);
    const name = binary.toString('latin1', at, end);
    const previous = names.at(-1);
    if (!/^[[a-z0-9_-]+$/.test(name) || (previous !== undefined && name <= previous)) break;
    names.push(name);
    at = end + 1;
  }
  if (names.length < 100)
    throw new ShoalError('bad-image', 'The list of applets was not found in busybox; its package is of an unknown kind.');
  return names;
}
