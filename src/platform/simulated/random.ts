/** The same numbers each time, unless the simulation brings its own. */
let state = 1;

export function randomBelow(limit: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
  return Math.floor(((state >>> 0) / 2 ** 32) * limit);
}
