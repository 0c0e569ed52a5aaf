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
  #sentAt = 0;

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
    const decisions = [...this.#noted.values()].sort((a, b) => b.pages - a.pages).slice(0, DECISIONS_MAX);
    this.#noted.clear();
    this.#send({ kind: 'decisions', decisions });
  }
}
