/**
 * LEB128, the variable-length integers of the WebAssembly binary format (core specification 5.2.2).
 *
 * Small numbers take an integer path without BigInt: nearly all indices, offsets and constants are small.
 */

/** Unsigned; `value` ≥ 0. */
export function uleb(value: number | bigint): number[] {
  const bytes: number[] = [];
  if (typeof value === 'number' && value <= 0x7fff_ffff) {
    let rest = value;
    while (rest > 127) {
      bytes.push((rest & 127) | 128);
      rest >>>= 7;
    }
    bytes.push(rest);
    return bytes;
  }
  let rest = BigInt(value);
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return bytes;
}

/** Signed: the last byte's bit 6 is the sign. */
export function sleb(value: number | bigint): number[] {
  const bytes: number[] = [];
  if (typeof value === 'number' && value === (value | 0)) {
    let rest = value;
    while (rest < -64 || rest > 63) {
      bytes.push((rest & 127) | 128);
      rest >>= 7;
    }
    bytes.push(rest & 127);
    return bytes;
  }
  let rest = BigInt(value);
  while (rest < -64n || rest > 63n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest & 127n));
  return bytes;
}
