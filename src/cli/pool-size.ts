/** How large a pool is when nobody says: SHOAL_MEMORY, else half of this machine's memory and at most the 4 GiB that one pool can be. */
import { totalmem } from 'node:os';
import { parseSize } from '../host/size.ts';

const POOL_BYTES_MAX = 2 ** 32;

export function defaultPoolBytes(): number {
  const asked = process.env.SHOAL_MEMORY;
  if (asked !== undefined && asked !== '') return parseSize(asked);
  return Math.min(POOL_BYTES_MAX, Math.floor(totalmem() / 2));
}
