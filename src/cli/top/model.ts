/** What `shoal top` knows: the last two overviews of the host, and the last decisions. Rates are what differs between the two. */
import type { HostEvent, HostInfo, HostOverview, ManagerCounters } from '../../host/index.ts';
import { formatSize } from '../../host/size.ts';

const EVENTS_KEPT = 200;
const PAGE_BYTES = 4096;

export type Machine = HostOverview['machines'][number];

/** A machine, how fast its memory changes, bytes a second, and how much of a core it takes, percent. */
export interface MachineView extends Machine {
  readonly growth: number;
  readonly returning: number;
  readonly cpu: number;
}

export interface EventLine {
  readonly atMs: number;
  /** `zero`, `share`…, or `!` for what is wrong. */
  readonly action: string;
  readonly vm: string;
  readonly text: string;
}

interface Sample {
  readonly overview: HostOverview;
  /** Of the monotonic clock. */
  readonly atMs: number;
}

export class TopModel {
  readonly info: HostInfo;
  /** Newest last. */
  readonly events: EventLine[] = [];
  #now: Sample;
  #before: Sample;
  /** Since when (ms, monotonic) the host owes an answer; null: it owes none. */
  askedAtMs: number | null = null;

  constructor(info: HostInfo, overview: HostOverview, atMs: number) {
    this.info = info;
    this.#now = { overview, atMs };
    this.#before = this.#now;
  }

  get memory(): HostOverview['memory'] {
    return this.#now.overview.memory;
  }

  get machines(): MachineView[] {
    const before = new Map(this.#before.overview.machines.map((machine) => [machine.id, machine.memory]));
    return this.#now.overview.machines.map((machine) => {
      const { memory } = machine;
      const then = before.get(machine.id) ?? memory;
      return {
        ...machine,
        growth: this.#perSecond(memory.privateBytes - then.privateBytes),
        returning: this.#perSecond(memory.returnedBytes - then.returnedBytes),
        // A machine that was started anew counts from 0.
        cpu: Math.max(0, this.#perSecond(memory.cpuMs - then.cpuMs)) / 10,
      };
    });
  }

  /** How fast a counter of the memory manager grows, a second. */
  rate(counter: keyof ManagerCounters): number {
    return this.#perSecond(this.#now.overview.memory.manager[counter] - this.#before.overview.memory.manager[counter]);
  }

  /** The host answered. */
  update(overview: HostOverview, atMs: number): void {
    this.#before = this.#now;
    this.#now = { overview, atMs };
    this.askedAtMs = null;
  }

  /** Something happened, at `nowMs` since 1970 if it does not say when. */
  add(event: HostEvent, nowMs: number): void {
    this.events.push(describe(event, nowMs));
    if (this.events.length > EVENTS_KEPT) this.events.shift();
  }

  #perSecond(difference: number): number {
    const seconds = (this.#now.atMs - this.#before.atMs) / 1000;
    return seconds > 0 ? difference / seconds : 0;
  }
}

function describe(event: HostEvent, nowMs: number): EventLine {
  switch (event.kind) {
    case 'decision': {
      const size = event.pages === 0 ? '' : `${formatSize(event.pages * PAGE_BYTES)}: `;
      return { atMs: event.at, action: event.action, vm: event.vm ?? '-', text: `${size}${event.reason}` };
    }
    case 'memory-exhausted':
      return alarm(
        nowMs,
        `the pool is exhausted; waiting: ${event.waiting.join(', ')}${event.allWait ? ', and nobody runs' : ''}`,
      );
    case 'memory-available':
      return alarm(nowMs, 'no machine waits for memory any more');
    case 'swap-full':
      return alarm(nowMs, `the swap file of ${formatSize(event.capacityBytes)} is full`);
    case 'swap-available':
      return alarm(nowMs, `the swap file of ${formatSize(event.capacityBytes)} has room again`);
    case 'page-unreadable':
      return { ...alarm(nowMs, `waits for a page that cannot be read: ${event.reason}`), vm: event.machine };
    case 'page-readable':
      return { ...alarm(nowMs, 'has the pages it waited for'), vm: event.machine };
  }
}

const alarm = (atMs: number, text: string): EventLine => ({ atMs, action: '!', vm: '-', text });
