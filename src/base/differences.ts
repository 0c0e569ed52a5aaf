/** Ascending numbers as the differences between neighbours: those of a row are ones, which take no room once they are compressed or written as text. */

export const differencesOf = (numbers: Uint32Array): Uint32Array =>
  numbers.map((number, i) => number - (i === 0 ? 0 : (numbers[i - 1] as number)));

/** The inverse, into `into` where that is given. */
export function sumsOf(differences: ArrayLike<number>, into: Uint32Array = new Uint32Array(differences.length)): Uint32Array {
  let sum = 0;
  for (let i = 0; i < differences.length; i++) into[i] = sum += differences[i] as number;
  return into;
}
