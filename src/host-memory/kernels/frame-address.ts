/**
 * How kernels are told of frames: by number, which is always a small integer to JavaScript, where a byte address above 2^31 would be
 * a float.
 *
 * The last frame of a 4 GiB arena ends at 2^32, which is 0 in 32 bits. So loops count bytes from the start of a frame, or compare
 * addresses for equality; none asks whether one address is below another.
 */
import { type Fn, i32, type Local } from '../../wasm/index.ts';

const PAGE_SHIFT = 12;

/** The byte address of the frame whose number is parameter `index`, which becomes that address. */
export function frameAddress(fn: Fn, index: number): Local<'i32'> {
  const parameter = fn.param<'i32'>(index);
  fn.set(parameter, i32.shl(parameter, PAGE_SHIFT));
  return parameter;
}
