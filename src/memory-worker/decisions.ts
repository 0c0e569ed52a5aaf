/** What was decided, added up for the eyes of people: at most a few messages a second, however much happens. */
import { vmOfLife } from '../vm/nominations.ts';
import type { DecisionAction, WorkerDecision, WorkerMessage } from './messages.ts';

/** Between two messages, ms. */
const SEND_INTERVAL_MS = 250;
/** Decisions of one message. */
const DECISIONS_MAX = 16;

export class Decisions {
  readonly #send: (message: WorkerMessage) => void;
  readonly #noted = new Map<string, WorkerDecision>();
  #sentAt = Number.NEGATIVE_INFINITY;

  constructor(send: (message: WorkerMessage) => void) {
    this.#send = send;
  }

  /** @param life slot and life of the VM, or -1 for all. */
  note(life: number, action: DecisionAction, pages: number, reason: string): void {
    const slot = life < 0 ? -1 : vmOfLife(life);
    const key = `${slot} ${action} ${reason}`;
    const before = this.#noted.get(key)?.pages ?? 0;
    this.#noted.set(key, { at: Date.now(), slot, action, pages: before + pages, reason });
  }

  /** Tells what was noted, if it is time. */
  send(): void {
    const now = performance.now();
    if (this.#noted.size === 0 || now < this.#sentAt + SEND_INTERVAL_MS) return;
    this.#sentAt = now;
    // The greatest first; the others are told the next time, with what has come to them by then.
    const first = [...this.#noted].sort(([, a], [, b]) => b.pages - a.pages).slice(0, DECISIONS_MAX);
    for (const [key] of first) this.#noted.delete(key);
    this.#send({ kind: 'decisions', decisions: first.map(([, decision]) => decision) });
  }
}
