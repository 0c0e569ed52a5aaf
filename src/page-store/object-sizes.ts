/**
 * How large stored objects are, and in which of them a compressed page lies: in one, or in two of different frames where that leaves less unused.
 *
 *   1,500 bytes   1,024 + 512    3/8 of a frame, where one object of 2,048 would take half
 *   3,000 bytes   2,048 + 1,024  3/4
 *
 * The length alone decides, so writer and readers need not tell each other.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import { PLACE_UNIT } from './store-table.ts';

/** Bytes of an object, by class: as many as 64, 42, 32 … 2 objects to a frame leave each, in whole units. */
export const OBJECT_BYTES = [
  64, 96, 128, 160, 192, 224, 256, 288, 304, 336, 368, 400, 448, 512, 576, 672, 816, 1024, 1360, 2048,
] as const;
export const OBJECTS_PER_FRAME: readonly number[] = OBJECT_BYTES.map((bytes) => Math.floor(PAGE_SIZE / bytes));

/** A page that does not get this small is kept elsewhere: the two largest classes, which leave a sixth of a frame. */
export const STORED_BYTES_MAX = 2048 + 1360;

/** What two objects must take less than one, in frames: a page in two is copied once more when it is read. */
const WORTH_SECOND = 1 / 64;

const NONE = -1;
const UNITS_MAX = STORED_BYTES_MAX / PLACE_UNIT;

/** Classes of the first object and of the second, or NONE, by units of length. */
const FIRST = new Int8Array(UNITS_MAX + 1);
const SECOND = new Int8Array(UNITS_MAX + 1);
for (let units = 0; units <= UNITS_MAX; units++) [FIRST[units], SECOND[units]] = cheapest(units * PLACE_UNIT);

/** The first class that holds so many bytes; NONE when none does. */
function classOf(length: number): number {
  return OBJECT_BYTES.findIndex((bytes) => bytes >= length);
}

function cheapest(length: number): [first: number, second: number] {
  const single = classOf(length);
  let best: [number, number] = [single, NONE];
  let least = single === NONE ? Number.POSITIVE_INFINITY : 1 / OBJECTS_PER_FRAME[single] - WORTH_SECOND;
  for (const [first, bytes] of OBJECT_BYTES.entries()) {
    const second = bytes < length ? classOf(length - bytes) : NONE;
    if (second === NONE || second > first) continue;
    const share = 1 / OBJECTS_PER_FRAME[first] + 1 / OBJECTS_PER_FRAME[second];
    if (share >= least) continue;
    least = share;
    best = [first, second];
  }
  return best;
}

const unitsOf = (length: number): number => Math.ceil(length / PLACE_UNIT);

/** Class of the object where a page of this length begins. */
export const firstClassOf = (length: number): number => FIRST[unitsOf(length)];
/** Class of the object where it goes on; -1 when it lies in one. */
export const secondClassOf = (length: number): number => SECOND[unitsOf(length)];
/** How many of its bytes lie in the first. */
export const firstBytesOf = (length: number): number => Math.min(length, OBJECT_BYTES[firstClassOf(length)]);

/** What a page of this length takes of a frame. */
export function frameShareOf(length: number): number {
  const second = secondClassOf(length);
  return 1 / OBJECTS_PER_FRAME[firstClassOf(length)] + (second === NONE ? 0 : 1 / OBJECTS_PER_FRAME[second]);
}
