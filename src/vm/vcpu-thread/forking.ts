/**
 * Forks of one machine, on its vCPU thread.
 *
 *   order → its disks take nothing new, until all that they took is answered; the guest runs on
 *         → between two slices, the cut: memory, hart, devices, disks at one instant
 *         → further children are forks of the first, a few at a time, and the parent runs on
 *         → the main thread is told what each child begins with, and gives it to a thread
 *
 * An order waits for the disks for a bounded time, and is refused then.
 */
import { ShoalError } from '../../base/errors.ts';
import { adoptFork, type ForkedMemory, forkSteps } from '../../guest-memory/fork.ts';
import type { GuestMemory } from '../../guest-memory/index.ts';
import { powerOffSteps } from '../../guest-memory/life.ts';
import { withTops } from '../disk-stack.ts';
import type { Body } from './body.ts';
import type { StoppableClock } from './guest-clock.ts';
import type { ThreadContext } from './machine.ts';
import { type PackedState, packState } from './machine-state.ts';
import type { ForkOrder, MachineSpec, WireError } from './messages.ts';
import type { Ports } from './ports.ts';

/** Disks get so long to answer what they have taken, ms. */
const QUIET_MS_MAX = 5000;
/** Time for further children before the thread looks after its machines again, ms. */
const TURN_MS = 1;

/** The parent as a fork sees it. */
export interface ForkedMachine {
  readonly body: Body;
  readonly clock: StoppableClock;
  readonly ports: Ports;
  /** Off the thread: the hart's registers are in its state. */
  leave(): void;
}

/** The cut was made, and children are still to come. */
interface Cut {
  readonly state: PackedState;
  readonly portsInUse: readonly number[];
  readonly pausedMs: number;
  readonly sealed: readonly boolean[];
  /** The first child, as what the others are forks of. */
  readonly template: GuestMemory;
  readonly memories: ForkedMemory[];
}

export class Forking {
  readonly #thread: ThreadContext;
  readonly #spec: MachineSpec;
  readonly #orders: ForkOrder[] = [];
  #cut: Cut | null = null;
  /** When (ms) the first order is refused, should the disks not be quiet; Infinity: there is none. */
  deadline = Number.POSITIVE_INFINITY;

  constructor(thread: ThreadContext, spec: MachineSpec) {
    this.#thread = thread;
    this.#spec = spec;
  }

  add(order: ForkOrder): void {
    this.#orders.push(order);
    if (this.#orders.length === 1) this.deadline = performance.now() + QUIET_MS_MAX;
  }

  get pending(): boolean {
    return this.#orders.length > 0;
  }

  /** No order can be carried out any more. */
  refuseAll(error: ShoalError, body?: Body): void {
    while (this.pending) this.#fail(error, body);
  }

  /** Goes on as far as it can. True: there is more to do at once. */
  step(machine: ForkedMachine): boolean {
    const [order] = this.#orders;
    if (!order) return false;
    try {
      if (!this.#cut) {
        if (!this.#isQuiet(machine)) return false;
        this.#cut = this.#makeCut(machine, order);
        if (!this.#cut) return false;
      }
      if (!this.#addChildren(this.#cut, order)) {
        // Not in this round: slices come first.
        this.#thread.host.ringDoorbell(this.#thread.index);
        return false;
      }
      const { template: _, ...result } = this.#cut;
      this.#thread.send({ kind: 'forked', vm: this.#spec.vm, fork: order.fork, result });
      this.#next(machine.body);
    } catch (error) {
      if (!(error instanceof ShoalError)) throw error;
      this.#fail(error, machine.body);
    }
    return this.pending;
  }

  #isQuiet({ body }: ForkedMachine): boolean {
    body.devices.quiesce(true);
    if (body.devices.requestsInFlight === 0) return true;
    if (performance.now() < this.deadline) return false;
    throw new ShoalError(
      'timeout',
      `Its disks did not answer within ${QUIET_MS_MAX / 1000} s, so the machine was not forked; try again.`,
    );
  }

  #makeCut({ body, clock, ports, leave }: ForkedMachine, order: ForkOrder): Cut | null {
    const { host } = this.#thread;
    const began = performance.now();
    leave();
    const first = this.#fork(body.memory, order.threads[0] as number);
    if (first === 'held') return null;
    const sealed = body.disks.map((disk, index) => {
      const layer = order.layers[index];
      return layer ? disk.seal(layer) : false;
    });
    this.#spec.disks = withTops(this.#spec.disks, sealed, order.layers);
    const savedPorts = ports.save();
    const state = packState({
      hart: body.hart.state.save(),
      devices: body.devices.save(),
      guestMs: clock.elapsedMs,
      ports: savedPorts,
    });
    body.devices.quiesce(false);
    const pausedMs = performance.now() - began;
    const { source } = body.memory;
    const portsInUse = savedPorts.inUse;
    return { state, portsInUse, pausedMs, sealed, template: adoptFork(host, first, source ? { source } : {}), memories: [first] };
  }

  /** True: all are there. */
  #addChildren({ template, memories }: Cut, { threads }: ForkOrder): boolean {
    const end = performance.now() + TURN_MS;
    while (memories.length < threads.length) {
      if (performance.now() > end) return false;
      const memory = this.#fork(template, threads[memories.length] as number);
      if (memory !== 'held') memories.push(memory);
    }
    return true;
  }

  #fork(memory: GuestMemory, thread: number): ForkedMemory | 'held' {
    const forked = this.#thread.host.run(forkSteps(memory, thread));
    if (forked !== 'no-tables') return forked;
    throw new ShoalError(
      'no-memory',
      'The pool has no room for the page tables of another machine; remove one, or open a larger pool.',
    );
  }

  #fail({ code, message }: ShoalError, body: Body | undefined): void {
    const { host } = this.#thread;
    for (const memory of this.#cut?.memories ?? []) {
      const source = this.#cut?.template.source;
      host.run(powerOffSteps(adoptFork(host, memory, source ? { source } : {})));
    }
    const error: WireError = { code, message };
    const sealed = this.#cut?.sealed ?? [];
    this.#thread.send({
      kind: 'forked',
      vm: this.#spec.vm,
      fork: (this.#orders[0] as ForkOrder).fork,
      result: { error, sealed },
    });
    this.#next(body);
  }

  #next(body: Body | undefined): void {
    this.#cut = null;
    this.#orders.shift();
    this.deadline = this.pending ? performance.now() + QUIET_MS_MAX : Number.POSITIVE_INFINITY;
    if (!this.pending) body?.devices.quiesce(false);
  }
}
