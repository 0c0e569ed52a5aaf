/** What a hart counts, for benches and for finding out where time goes. Nothing depends on it. */

/** Since the hart object was made. */
export interface HartCounters {
  instructions: number;
  sbiCalls: number;
  fetchFills: number;
  straddles: number;
  csrs: number;
  satpWrites: number;
  sfenceAll: number;
  sfencePage: number;
  sfenceAsid: number;
  /** TLB fills for data, page walks, device accesses of this thread while the hart was entered. */
  dataFills: number;
  walks: number;
  mmioReads: number;
  mmioWrites: number;
  /** How often the interpreter came back, by code (EXIT). */
  readonly exits: number[];
  readonly exceptionsByCause: number[];
  readonly interruptsByCause: number[];
}

/** Of all codes or causes together. */
export const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);

/** Codes of exits and causes of traps are below this. */
const CODES = 16;

export const newCounters = (): HartCounters => ({
  instructions: 0,
  sbiCalls: 0,
  fetchFills: 0,
  straddles: 0,
  csrs: 0,
  satpWrites: 0,
  sfenceAll: 0,
  sfencePage: 0,
  sfenceAsid: 0,
  dataFills: 0,
  walks: 0,
  mmioReads: 0,
  mmioWrites: 0,
  exits: new Array(CODES).fill(0),
  exceptionsByCause: new Array(CODES).fill(0),
  interruptsByCause: new Array(CODES).fill(0),
});
