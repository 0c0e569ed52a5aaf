/**
 * Says when the pool is out of memory: a machine has waited for a second, so what could be had soon was not enough. Machines wait
 * without harm; what they need is a decision of whoever runs the host.
 */
import type { PoolEvent, VmHandle } from './types.ts';

/** A shorter wait is a hiccup: somebody else's pages were on their way back. */
const PATIENCE_MS = 1000;

export class ExhaustionWatch {
  readonly #listeners = new Set<(event: PoolEvent) => void>();
  readonly #live: () => readonly VmHandle[];
  #timer: NodeJS.Timeout | null = null;
  #told = false;

  constructor(live: () => readonly VmHandle[]) {
    this.#live = live;
  }

  onEvent(listener: (event: PoolEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** From now on this machine's states count. */
  watch(vm: VmHandle): void {
    vm.onEvent((event) => {
      if (event.kind === 'state') this.#look();
    });
  }

  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#listeners.clear();
  }

  #look(): void {
    if (this.#waiting().length === 0) {
      if (this.#timer) clearTimeout(this.#timer);
      this.#timer = null;
      if (this.#told) this.#emit({ kind: 'memory-available' });
      this.#told = false;
    } else if (!this.#timer && !this.#told) {
      this.#timer = setTimeout(() => this.#tell(), PATIENCE_MS);
      this.#timer.unref();
    }
  }

  #tell(): void {
    this.#timer = null;
    const waiting = this.#waiting();
    if (waiting.length === 0) return;
    this.#told = true;
    const allWait = this.#live().every((vm) => vm.state !== 'running');
    this.#emit({ kind: 'memory-exhausted', waiting: waiting.map((vm) => vm.config.name), allWait });
  }

  #waiting(): VmHandle[] {
    return this.#live().filter((vm) => vm.state === 'waiting');
  }

  /** A page that a machine needs cannot be read, and why; null: all can again. */
  unreadable(machine: string, reason: string | null): void {
    this.#emit(reason === null ? { kind: 'page-readable', machine } : { kind: 'page-unreadable', machine, reason });
  }

  #emit(event: PoolEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
