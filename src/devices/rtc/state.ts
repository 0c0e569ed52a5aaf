/** Saved form of the real-time clock. Nanoseconds are decimal text, since they exceed 2^53. */
export const RTC_STATE_VERSION = 1;

export interface RtcState {
  /** What the guest's setting of the clock adds to the host's. */
  readonly offsetNs: string;
  readonly latchedNs: string;
  /** Empty when no alarm is armed. */
  readonly alarmNs: string;
  readonly alarmHigh: number;
  readonly timeHigh: number;
  readonly interruptEnabled: boolean;
  readonly interruptPending: boolean;
}
