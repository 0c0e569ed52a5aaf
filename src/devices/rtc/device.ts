/**
 * `google,goldfish-rtc`: the wall clock, with an alarm.
 *
 * It follows the host's clock while the guest is paused or saved: that is what a battery is for. Guest time, which
 * stops, is the hart's `time` register.
 */
import type { Device, DeviceState, InterruptLine } from '../device.ts';
import { stateData } from '../state.ts';
import * as registers from './registers.ts';
import { RTC_STATE_VERSION, type RtcState } from './state.ts';

const LOW = 0xffff_ffffn;
const NS_PER_MS = 1_000_000n;

export class Rtc implements Device {
  readonly name = 'rtc';
  readonly #line: InterruptLine;
  readonly #wallClockMs: () => number;
  #offsetNs = 0n;
  #latchedNs = 0n;
  #alarmNs: bigint | undefined;
  #alarmHigh = 0;
  #timeHigh = 0;
  #interruptEnabled = false;
  #interruptPending = false;

  constructor(line: InterruptLine, wallClockMs: () => number) {
    this.#line = line;
    this.#wallClockMs = wallClockMs;
  }

  /** Host wall-clock time of the next alarm in milliseconds, or Infinity. */
  get nextAlarmMs(): number {
    if (this.#alarmNs === undefined) return Number.POSITIVE_INFINITY;
    return Number((this.#alarmNs - this.#offsetNs) / NS_PER_MS);
  }

  /** Rings the alarm when its time has come. */
  poll(): void {
    if (this.#alarmNs === undefined || this.#nowNs() < this.#alarmNs) return;
    this.#alarmNs = undefined;
    this.#interruptPending = true;
    this.#updateLine();
  }

  read(offset: number, size: number): number {
    if (size !== 4) return 0;
    switch (offset) {
      case registers.TIME_LOW:
        this.#latchedNs = this.#nowNs();
        return Number(this.#latchedNs & LOW);
      case registers.TIME_HIGH:
        return Number((this.#latchedNs >> 32n) & LOW);
      case registers.ALARM_LOW:
        return Number((this.#alarmNs ?? 0n) & LOW);
      case registers.ALARM_HIGH:
        return this.#alarmHigh;
      case registers.IRQ_ENABLED:
        return this.#interruptEnabled ? 1 : 0;
      case registers.ALARM_STATUS:
        return this.#alarmNs === undefined ? 0 : 1;
      default:
        return 0;
    }
  }

  write(offset: number, size: number, value: number): void {
    if (size !== 4) return;
    switch (offset) {
      case registers.TIME_LOW:
        this.#offsetNs += this.#wide(this.#timeHigh, value) - this.#nowNs();
        break;
      case registers.TIME_HIGH:
        this.#timeHigh = value;
        break;
      case registers.ALARM_LOW:
        this.#alarmNs = this.#wide(this.#alarmHigh, value);
        this.poll();
        break;
      case registers.ALARM_HIGH:
        this.#alarmHigh = value;
        break;
      case registers.IRQ_ENABLED:
        this.#interruptEnabled = (value & 1) !== 0;
        break;
      case registers.CLEAR_ALARM:
        this.#alarmNs = undefined;
        break;
      case registers.CLEAR_INTERRUPT:
        this.#interruptPending = false;
        break;
    }
    this.#updateLine();
  }

  reset(): void {
    this.#offsetNs = 0n;
    this.#latchedNs = 0n;
    this.#alarmNs = undefined;
    this.#alarmHigh = 0;
    this.#timeHigh = 0;
    this.#interruptEnabled = false;
    this.#interruptPending = false;
    this.#updateLine();
  }

  save(): DeviceState {
    const data: RtcState = {
      offsetNs: String(this.#offsetNs),
      latchedNs: String(this.#latchedNs),
      alarmNs: this.#alarmNs === undefined ? '' : String(this.#alarmNs),
      alarmHigh: this.#alarmHigh,
      timeHigh: this.#timeHigh,
      interruptEnabled: this.#interruptEnabled,
      interruptPending: this.#interruptPending,
    };
    return { name: this.name, version: RTC_STATE_VERSION, data };
  }

  restore(state: DeviceState): void {
    const data = stateData<RtcState>(state, this.name, RTC_STATE_VERSION);
    this.#offsetNs = BigInt(data.offsetNs);
    this.#latchedNs = BigInt(data.latchedNs);
    this.#alarmNs = data.alarmNs === '' ? undefined : BigInt(data.alarmNs);
    this.#alarmHigh = data.alarmHigh;
    this.#timeHigh = data.timeHigh;
    this.#interruptEnabled = data.interruptEnabled;
    this.#interruptPending = data.interruptPending;
    this.#updateLine();
  }

  #nowNs(): bigint {
    return BigInt(Math.floor(this.#wallClockMs())) * NS_PER_MS + this.#offsetNs;
  }

  #wide(high: number, low: number): bigint {
    return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  }

  #updateLine(): void {
    this.#line.set(this.#interruptPending && this.#interruptEnabled);
  }
}
