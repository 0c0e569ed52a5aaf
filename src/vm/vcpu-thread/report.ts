/** What a machine tells of itself as it goes: how long its hart ran, how much memory it gave back, what it logs, and what went wrong. */

import { ShoalError } from '../../base/errors.ts';
import type { VmIndex } from '../../base/numbers.ts';
import type { GuestMemory } from '../../guest-memory/index.ts';
import { VM_RUN_MS, VM_RUN_TIME } from '../../host-memory/tables.ts';
import type { VmState } from '../types.ts';
import type { FromThread } from './messages.ts';

export class MachineReport {
  readonly #vm: number;
  readonly #send: (message: FromThread) => void;
  #returnedBytes = 0;
  /** Since the machine was made, across power-offs. */
  ranMs = 0;

  constructor(vm: number, send: (message: FromThread) => void) {
    this.#vm = vm;
    this.#send = send;
  }

  /** It has a new account. */
  begin(): void {
    this.#returnedBytes = 0;
  }

  /** Its hart had the thread for so long. */
  countRunTime(memory: GuestMemory | undefined, ms: number): void {
    this.ranMs += ms;
    if (!memory) return;
    Atomics.add(memory.words, memory.account + VM_RUN_TIME, Math.round(ms * 1000));
    Atomics.store(memory.words, memory.account + VM_RUN_MS, Math.floor(this.ranMs % 2 ** 32));
  }

  returned({ host, vm }: GuestMemory): void {
    const { returnedBytes } = host.memoryOfVm(vm as VmIndex);
    if (returnedBytes === this.#returnedBytes) return;
    this.#returnedBytes = returnedBytes;
    this.#send({ kind: 'returned', vm: this.#vm, bytes: returnedBytes });
  }

  log(bytes: Uint8Array): void {
    this.#send({ kind: 'log', vm: this.#vm, bytes });
  }

  failed(state: VmState, error: unknown): void {
    const { code, message } = error instanceof ShoalError ? error : { code: 'guest-fault', message: String(error) };
    this.#send({ kind: 'state', vm: this.#vm, state, error: { code, message } });
  }
}
