/**
 * The memory worker's way to all owners: nominations go to the thread of their VM, outcomes come back to whoever takes that kind.
 *
 * What a full ring does not take waits here; who produces much looks at `backlog` and pauses.
 */
import type { HostMemory } from '../host-memory/index.ts';
import { VM_THREAD } from '../host-memory/tables.ts';
import { MEMORY_WORKER } from '../host-memory/waiters.ts';
import { FusionTime } from './fusion-time.ts';
import { N_KIND, NOMINATION, type Nomination, type NominationKind, NominationSender, vmOfLife } from './nominations.ts';

/** `words[at + N_…]`: the nomination and its outcome. */
export type OutcomeHandler = (words: Int32Array, at: number) => void;

/** How long the worker sleeps at most before it looks for outcomes again, ms. */
const LOOK_AGAIN_MS = 20;
const WORTH_WAKING = 128;

export class Nominator {
  /** CPU time of this thread for exchanging what is page fusion's, ms. */
  fusionMs = 0;
  readonly #time = new FusionTime();
  readonly #host: HostMemory;
  readonly #senders: readonly NominationSender[];
  readonly #queues: Nomination[][];
  /** By thread: nominations since it was rung. */
  readonly #unrung: Int32Array;
  readonly #handlers = new Map<NominationKind, OutcomeHandler>();
  readonly #stopped: () => boolean;

  constructor(host: HostMemory, channels: readonly SharedArrayBuffer[], stopped: () => boolean) {
    this.#host = host;
    this.#stopped = stopped;
    this.#senders = channels.map((channel) => new NominationSender(channel));
    this.#queues = channels.map(() => []);
    this.#unrung = new Int32Array(channels.length);
  }

  on(kind: NominationKind, handler: OutcomeHandler): void {
    this.#handlers.set(kind, handler);
  }

  /** Nominations that are not carried out yet. */
  get backlog(): number {
    let count = 0;
    for (const [i, sender] of this.#senders.entries()) count += sender.open + (this.#queues[i] as Nomination[]).length;
    return count;
  }

  nominate(nomination: Nomination): void {
    const thread = this.#host.words[this.#host.vmEntry(vmOfLife(nomination.vm)) + VM_THREAD];
    this.toThread(thread, nomination);
  }

  toThread(thread: number, nomination: Nomination): void {
    const sender = this.#senders[thread];
    const queue = this.#queues[thread];
    if (sender === undefined || queue === undefined) return;
    if (queue.length > 0 || sender.isFull) queue.push(nomination);
    else sender.submit(nomination);
    this.#unrung[thread]++;
  }

  /**
   * Takes back what is done, and wakes the owners that have got at least `enough` nominations since they were woken: a wake-up costs more than to carry
   * some out. How many came back.
   */
  exchange(enough = WORTH_WAKING): number {
    if (!this.#isAnythingToExchange(enough)) return 0;
    // Ringing is page fusion's: it has most to say.
    this.#time.begin(true);
    let count = 0;
    for (let thread = 0; thread < this.#senders.length; thread++) {
      const sender = this.#senders[thread];
      count += sender.takeBack(this.#takeBack);
      const queue = this.#queues[thread];
      if (queue.length === 0) continue;
      let sent = 0;
      while (sent < queue.length && !sender.isFull) sender.submit(queue[sent++] as Nomination);
      queue.splice(0, sent);
    }
    this.#time.turnTo(NOMINATION.shareFirst);
    for (let thread = 0; thread < this.#unrung.length; thread++) {
      if (this.#unrung[thread] < enough) continue;
      this.#unrung[thread] = 0;
      this.#host.ringDoorbell(thread);
    }
    this.#time.end();
    this.fusionMs += this.#time.fusionMs;
    return count;
  }

  #isAnythingToExchange(enough: number): boolean {
    for (let thread = 0; thread < this.#senders.length; thread++)
      if (this.#senders[thread].isAnyDone || this.#queues[thread].length > 0 || this.#unrung[thread] >= enough) return true;
    return false;
  }

  /** Sleeps until fewer than `open` are under way. False: the pool is closing. */
  settle(open = 1): boolean {
    const { words } = this.#host;
    const doorbell = this.#host.doorbell(MEMORY_WORKER);
    for (;;) {
      const seen = Atomics.load(words, doorbell);
      this.exchange(1);
      if (this.backlog < open) return true;
      if (this.#stopped()) return false;
      Atomics.wait(words, doorbell, seen, LOOK_AGAIN_MS);
    }
  }

  readonly #takeBack = (words: Int32Array, at: number): void => {
    this.#time.turnTo(words[at + N_KIND]);
    this.#handlers.get(words[at + N_KIND] as NominationKind)?.(words, at);
  };
}
