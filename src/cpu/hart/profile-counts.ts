/** What the counters of a hart mean to who reads a profile: why the interpreter came back, and what it called. */
import { EXIT } from '../interpreter/boundary.ts';
import { CAUSE, INTERRUPT } from './cause.ts';
import { type HartCounters, total } from './counters.ts';

/**
 * Why guest code stopped and the hart went on in JavaScript. `budget`: its turn was over, which asks nothing of the guest. `supervisorReturns`:
 * sret. `straddles`: an instruction in two pages. `stateChanges`: satp, or something that may let an interrupt in. `memoryWaits`: a page had to
 * be waited for.
 */
export const PROFILE_EXITS = [
  'budget',
  'fetchPageFaults',
  'loadPageFaults',
  'storePageFaults',
  'userCalls',
  'illegalInstructions',
  'breakpoints',
  'otherExceptions',
  'timerInterrupts',
  'externalInterrupts',
  'softwareInterrupts',
  'supervisorReturns',
  'sbiCalls',
  'waitsForInterrupt',
  'straddles',
  'stateChanges',
  'memoryWaits',
] as const;
export type ProfileExit = (typeof PROFILE_EXITS)[number];

/** What guest code had JavaScript do, and then went on: TLB fills, page walks, CSRs, fences, device accesses. */
export const PROFILE_CALLS = [
  'dataFills',
  'fetchFills',
  'pageWalks',
  'csrInstructions',
  'fences',
  'addressSpaceSwitches',
  'deviceReads',
  'deviceWrites',
] as const;
export type ProfileCall = (typeof PROFILE_CALLS)[number];

export interface ProfileCounts {
  readonly instructions: number;
  readonly exits: Readonly<Record<ProfileExit, number>>;
  readonly calls: Readonly<Record<ProfileCall, number>>;
}

export function countsBetween(before: HartCounters, after: HartCounters): ProfileCounts {
  type Single = { [key in keyof HartCounters]: HartCounters[key] extends number ? key : never }[keyof HartCounters];
  const single = (name: Single): number => after[name] - before[name];
  const exit = (code: number): number => after.exits[code] - before.exits[code];
  const exception = (cause: number): number => after.exceptionsByCause[cause] - before.exceptionsByCause[cause];
  const interrupt = (cause: number): number => after.interruptsByCause[cause] - before.interruptsByCause[cause];
  const named = {
    fetchPageFaults: exception(CAUSE.FETCH_PAGE_FAULT),
    loadPageFaults: exception(CAUSE.LOAD_PAGE_FAULT),
    storePageFaults: exception(CAUSE.STORE_PAGE_FAULT),
    userCalls: exception(CAUSE.ECALL_USER),
    illegalInstructions: exception(CAUSE.ILLEGAL),
    breakpoints: exception(CAUSE.BREAKPOINT),
  };
  return {
    instructions: single('instructions'),
    exits: {
      budget: exit(EXIT.BUDGET) + exit(EXIT.BUDGET_REGION),
      ...named,
      otherExceptions: Object.values(named).reduce(
        (rest, count) => rest - count,
        total(after.exceptionsByCause) - total(before.exceptionsByCause),
      ),
      timerInterrupts: interrupt(INTERRUPT.TIMER),
      externalInterrupts: interrupt(INTERRUPT.EXTERNAL),
      softwareInterrupts: interrupt(INTERRUPT.SOFTWARE),
      supervisorReturns: exit(EXIT.SRET),
      sbiCalls: single('sbiCalls'),
      waitsForInterrupt: exit(EXIT.WFI),
      straddles: single('straddles'),
      stateChanges: exit(EXIT.LEAVE),
      memoryWaits: exit(EXIT.WAIT),
    },
    calls: {
      dataFills: single('dataFills'),
      fetchFills: single('fetchFills'),
      pageWalks: single('walks'),
      csrInstructions: single('csrs'),
      fences: single('sfenceAll') + single('sfencePage') + single('sfenceAsid'),
      addressSpaceSwitches: single('satpWrites'),
      deviceReads: single('mmioReads'),
      deviceWrites: single('mmioWrites'),
    },
  };
}
