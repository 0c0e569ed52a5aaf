/**
 * The events of a pool, and the rate at which decisions of the memory manager become some of them: at most ten a second. What comes faster
 * waits and is added up, by machine and action; when many wait, by action alone. So a listener reads them, and none is lost in number.
 */
import type { ManagerDecision, PoolEvent } from './types.ts';

const DECISION_INTERVAL_MS = 100;
/** With more of them waiting, the machines of one action become one entry. */
const PENDING_MAX = 16;

export type Decision = Omit<ManagerDecision, 'kind' | 'at'>;

export class PoolEvents {
  readonly #listeners = new Set<(event: PoolEvent) => void>();
  #pending = new Map<string, ManagerDecision>();
  #timer: NodeJS.Timeout | null = null;

  onEvent(listener: (event: PoolEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(event: PoolEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** The manager decided something just now. */
  decide(decision: Decision): void {
    this.#add({ kind: 'decision', at: Date.now(), ...decision });
    if (this.#pending.size > PENDING_MAX) this.#crowd();
    if (this.#timer === null) this.#tellNext();
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#pending.clear();
    this.#listeners.clear();
  }

  #add(decision: ManagerDecision): void {
    const key = `${decision.action} ${decision.vm ?? ''}`;
    const before = this.#pending.get(key);
    this.#pending.set(key, before === undefined ? decision : { ...before, pages: before.pages + decision.pages });
  }

  #crowd(): void {
    const machines = new Map<string, number>();
    for (const { action } of this.#pending.values()) machines.set(action, (machines.get(action) ?? 0) + 1);
    const all = this.#pending;
    this.#pending = new Map();
    for (const decision of all.values()) {
      const count = machines.get(decision.action) as number;
      this.#add(count === 1 ? decision : { ...decision, vm: null, reason: 'several machines' });
    }
  }

  #tellNext(): void {
    this.#timer = null;
    const [next] = this.#pending;
    if (next === undefined) return;
    this.#pending.delete(next[0]);
    this.#timer = setTimeout(() => this.#tellNext(), DECISION_INTERVAL_MS);
    this.#timer.unref();
    this.emit(next[1]);
  }
}
