/**
 * `sifive,plic-1.0.0`: gathers the devices' level-triggered lines into the supervisor's external interrupt.
 *
 * A source is pending from the moment its line is high until it is claimed; while it is claimed it cannot become
 * pending, and if the line is still high when the guest completes it, it is pending again.
 */
import { PLIC_SOURCES } from '../../layout/machine.ts';
import type { Device, DeviceState, InterruptLine } from '../device.ts';
import { stateData } from '../state.ts';
import * as registers from './registers.ts';
import { PLIC_STATE_VERSION, type PlicState } from './state.ts';

/** Source 0 means "none", so its bit never sticks. */
const SOURCES_MASK = ~1;

export class Plic implements Device {
  readonly name = 'plic';
  readonly #priorities = new Int32Array(PLIC_SOURCES + 1);
  readonly #enables = new Int32Array(registers.CONTEXT_COUNT);
  readonly #thresholds = new Int32Array(registers.CONTEXT_COUNT);
  #levels = 0;
  #pending = 0;
  #claimed = 0;
  #output = false;
  readonly #setExternalInterrupt: (level: boolean) => void;

  /** `setExternalInterrupt` is called only when the level of the S-mode output changes. */
  constructor(setExternalInterrupt: (level: boolean) => void) {
    this.#setExternalInterrupt = setExternalInterrupt;
  }

  /** The line of interrupt source `source`, 1 … 31. */
  line(source: number): InterruptLine {
    return { set: (level) => this.#setLevel(source, level) };
  }

  read(offset: number, size: number): number {
    if (size !== 4) return 0;
    if (offset < registers.PRIORITY_END) return this.#priorities[offset >>> 2];
    if (offset === registers.PENDING) return this.#pending;
    const enable = (offset - registers.ENABLE) / registers.ENABLE_STRIDE;
    if (enable === 0 || enable === 1) return this.#enables[enable];
    const context = Math.floor((offset - registers.CONTEXT) / registers.CONTEXT_STRIDE);
    if (context < 0 || context >= registers.CONTEXT_COUNT) return 0;
    const register = offset % registers.CONTEXT_STRIDE;
    if (register === registers.THRESHOLD) return this.#thresholds[context];
    if (register === registers.CLAIM) return this.#claim(context);
    return 0;
  }

  write(offset: number, size: number, value: number): void {
    if (size !== 4) return;
    if (offset < registers.PRIORITY_END) {
      this.#priorities[offset >>> 2] = Math.min(value, registers.PRIORITY_MAX);
    } else if (offset >= registers.CONTEXT) {
      this.#writeContext(offset, value);
    } else {
      const enable = (offset - registers.ENABLE) / registers.ENABLE_STRIDE;
      if (enable === 0 || enable === 1) this.#enables[enable] = value & SOURCES_MASK;
    }
    this.#update();
  }

  reset(): void {
    this.#priorities.fill(0);
    this.#enables.fill(0);
    this.#thresholds.fill(0);
    this.#levels = 0;
    this.#pending = 0;
    this.#claimed = 0;
    this.#update();
  }

  save(): DeviceState {
    const data: PlicState = {
      priorities: [...this.#priorities],
      levels: this.#levels,
      pending: this.#pending,
      claimed: this.#claimed,
      enables: [...this.#enables],
      thresholds: [...this.#thresholds],
    };
    return { name: this.name, version: PLIC_STATE_VERSION, data };
  }

  restore(state: DeviceState): void {
    const data = stateData<PlicState>(state, this.name, PLIC_STATE_VERSION);
    this.#priorities.set(data.priorities);
    this.#enables.set(data.enables);
    this.#thresholds.set(data.thresholds);
    this.#levels = data.levels;
    this.#pending = data.pending;
    this.#claimed = data.claimed;
    // The hart's copy of the output is unknown here, so it is told in any case.
    this.#output = this.#best(registers.SUPERVISOR_CONTEXT) !== 0;
    this.#setExternalInterrupt(this.#output);
  }

  #writeContext(offset: number, value: number): void {
    const context = Math.floor((offset - registers.CONTEXT) / registers.CONTEXT_STRIDE);
    if (context >= registers.CONTEXT_COUNT) return;
    const register = offset % registers.CONTEXT_STRIDE;
    if (register === registers.THRESHOLD) this.#thresholds[context] = Math.min(value, registers.PRIORITY_MAX);
    else if (register === registers.CLAIM) this.#complete(context, value);
  }

  #setLevel(source: number, level: boolean): void {
    const bit = 1 << source;
    if (level) {
      this.#levels |= bit;
      this.#pending |= bit & ~this.#claimed;
    } else {
      this.#levels &= ~bit;
      this.#pending &= ~bit;
    }
    this.#update();
  }

  /** Highest priority above the threshold among the enabled pending sources, the lowest number first; 0 when there is none. */
  #best(context: number): number {
    let candidates = this.#pending & this.#enables[context];
    let best = 0;
    let bestPriority = this.#thresholds[context];
    while (candidates !== 0) {
      const source = 31 - Math.clz32(candidates & -candidates);
      candidates &= candidates - 1;
      if (this.#priorities[source] > bestPriority) {
        best = source;
        bestPriority = this.#priorities[source];
      }
    }
    return best;
  }

  #claim(context: number): number {
    const source = this.#best(context);
    if (source === 0) return 0;
    this.#pending &= ~(1 << source);
    this.#claimed |= 1 << source;
    this.#update();
    return source;
  }

  /** A completion of a source that the context has not enabled is ignored (specification, chapter 9). */
  #complete(context: number, source: number): void {
    if (source === 0 || source > PLIC_SOURCES) return;
    const bit = 1 << source;
    if ((this.#enables[context] & bit) === 0) return;
    this.#claimed &= ~bit;
    this.#pending |= this.#levels & bit;
  }

  #update(): void {
    const output = this.#best(registers.SUPERVISOR_CONTEXT) !== 0;
    if (output === this.#output) return;
    this.#output = output;
    this.#setExternalInterrupt(output);
  }
}
