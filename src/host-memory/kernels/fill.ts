/** Clearing and copying whole frames: the engine's own bulk operations, which no loop of ours beats. */
import { PAGE_SIZE } from '../../base/numbers.ts';
import type { Mod } from '../../wasm/index.ts';
import { frameAddress } from './frame-address.ts';

/** `zeroFrame(frame)` and `copyFrame(to, from)`. */
export function emitFill(m: Mod): void {
  const zero = m.fn(['i32'], null, 'zeroFrame');
  zero.memoryFill(frameAddress(zero, 0), 0, PAGE_SIZE);
  const copy = m.fn(['i32', 'i32'], null, 'copyFrame');
  copy.memoryCopy(frameAddress(copy, 0), frameAddress(copy, 1), PAGE_SIZE);
}
