/** What the demo knows while it runs; the scenario writes it, the screen and the report read it. */
import type { PoolMemory, VmMemory } from '../../host/index.ts';

/** In the order a guest goes through them; `failed` may follow any. */
export type GuestPhase = 'waiting' | 'booting' | 'hashing' | 'writing' | 'verifying' | 'holding' | 'freeing' | 'idle' | 'failed';

export interface GuestView {
  readonly name: string;
  phase: GuestPhase;
  memory: VmMemory | undefined;
  /** From the demo's start to the first line that its command printed, milliseconds. */
  firstLineMs: number | undefined;
  /** Every command it ran exited with 0. */
  commandsOk: boolean;
  busyboxOk: boolean | undefined;
  patternOk: boolean | undefined;
  error: string | undefined;
}

/** Forks of the first guest. */
export interface ForksView {
  readonly count: number;
  /** From the order until all were there, milliseconds. */
  readonly ms: number;
  /** What the resident memory of this process grew by meanwhile. */
  readonly bytes: number;
}

export interface DemoModel {
  readonly startedAtMs: number;
  readonly guests: readonly GuestView[];
  pool: PoolMemory | undefined;
  /** `uname -r` of the first guest. */
  kernel: string | undefined;
  /** Highest resident memory of this process that was seen, bytes. */
  residentPeakBytes: number;
  /** Of which one has answered a command. */
  forks: ForksView | undefined;
  readonly events: string[];
}

export function newModel(guestCount: number): DemoModel {
  return {
    startedAtMs: performance.now(),
    guests: Array.from({ length: guestCount }, (_, index) => ({
      name: `g${index + 1}`,
      phase: 'waiting' as const,
      memory: undefined,
      firstLineMs: undefined,
      commandsOk: false,
      busyboxOk: undefined,
      patternOk: undefined,
      error: undefined,
    })),
    pool: undefined,
    kernel: undefined,
    residentPeakBytes: 0,
    forks: undefined,
    events: [],
  };
}

export const checksumsOk = (guest: GuestView): boolean => guest.busyboxOk === true && guest.patternOk === true;
