/**
 * The loop of a vCPU thread: messages, requests and completions, then a slice of the machine whose turn it is, or sleep on the doorbell.
 *
 * A machine stays entered after its slice until another one needs the thread, so a machine that is alone keeps its TLB.
 */
import { writeSync } from 'node:fs';
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { ShoalError } from '../../base/errors.ts';
import { MEMORY_WORKER } from '../../host-memory/waiters.ts';
import { Machine, type ThreadContext } from './machine.ts';
import type { MachineOrigin, MachineSpec, ToThread } from './messages.ts';
import { NominationServer } from './nomination-server.ts';

/** A machine that is not alone gives the thread up after this long, ms. */
const SLICE_MS = 5;
/** How often freed memory is given back to the host OS, ms. */
const RETURN_INTERVAL_MS = 50;
/** What one turn of giving back takes at most: 16 MiB, some milliseconds. */
const RETURN_CHUNKS = 8;
/** A thread that ran its machines for less than `CALM_SHARE` of this window (ms) gives its decoded code back, if that is worth it. */
const CALM_WINDOW_MS = 1000;
const CALM_SHARE = 0.1;
/** Less than this is not worth it, bytes. */
const CACHE_WORTH_RETURNING = 2 ** 20;

/** Times in a row that one machine is served while it still has something. */
const POLL_ROUNDS = 16;
/** Time for what the memory worker nominates, between two slices and with nothing else to do, ms. */
const NOMINATIONS_BUSY_MS = 0.2;
const NOMINATIONS_IDLE_MS = 2;
/** How soon tables that the memory worker was reading are looked at again, ms. */
const RETIRED_AGAIN_MS = 10;

export class Scheduler {
  readonly #thread: ThreadContext;
  readonly #messages: MessagePort;
  readonly #machines = new Map<number, Machine>();
  readonly #removing = new Set<number>();
  readonly #doorbell: number;
  readonly #nominations: NominationServer;
  #current: Machine | null = null;
  #sliceEnd = 0;
  #turn = 0;
  #returnAt = 0;
  #windowStart = 0;
  #busyMs = 0;
  #wasBusy = false;
  #closing = false;

  constructor(thread: ThreadContext, messages: MessagePort, nominations: SharedArrayBuffer) {
    this.#thread = thread;
    this.#messages = messages;
    this.#doorbell = thread.host.doorbell(thread.index);
    this.#nominations = new NominationServer({
      host: thread.host,
      nominations,
      machineIn: (slot) => this.#machineIn(slot),
      trap: (machine, error) => this.#trap(machine, error),
      ringWorker: () => thread.host.ringDoorbell(MEMORY_WORKER),
    });
  }

  /** Returns when the pool closes and all machines are gone. */
  run(): void {
    const words = this.#thread.host.words;
    let seen = Atomics.load(words, this.#doorbell) - 1;
    while (!this.#closing || this.#machines.size > 0) {
      const rung = Atomics.load(words, this.#doorbell);
      if (rung !== seen) {
        seen = rung;
        this.#attend();
      }
      const now = performance.now();
      const next = this.#pick(now);
      this.#nominations.serve(next ? NOMINATIONS_BUSY_MS : NOMINATIONS_IDLE_MS);
      if (next) this.#slice(next);
      // What was just attended to may have been the end: nobody rings after it.
      else if (this.#closing && this.#machines.size === 0) break;
      else if (!this.#nominations.pending && Atomics.load(words, this.#doorbell) === seen) this.#sleep(now, seen);
      this.#giveBack(now);
    }
    this.#current?.leave();
  }

  /** Somebody rang: take everything that is there. */
  #attend(): void {
    for (let item = receiveMessageOnPort(this.#messages); item; item = receiveMessageOnPort(this.#messages)) {
      this.#take(item.message as ToThread);
    }
    this.#thread.cache.poll();
    for (const machine of this.#machines.values()) {
      machine.wakeLoader();
      this.#poll(machine);
    }
    for (const vm of this.#removing) this.#tryRemove(vm);
  }

  /** The machine in a slot of host-memory's VM table. */
  #machineIn(slot: number): Machine | undefined {
    for (const machine of this.#machines.values()) if (machine.memory?.vm === slot) return machine;
    return undefined;
  }

  #poll(machine: Machine): void {
    try {
      for (let rounds = 0; machine.poll(); rounds++) {
        if (rounds < POLL_ROUNDS) continue;
        // The others are served first; nobody else would ring for the rest.
        this.#thread.host.ringDoorbell(this.#thread.index);
        break;
      }
    } catch (error) {
      this.#trap(machine, error);
    }
  }

  /**
   * A fault of ours while a machine was served. That machine ends and the others go on, unless a mutex of the pool is held: then its tables
   * are half changed, and nothing that anybody does with them is right any more.
   */
  #trap(machine: Machine, error: unknown): void {
    const { host } = this.#thread;
    if (host.locks.held === 0) return machine.fail(error);
    const trace = error instanceof Error ? error.stack : String(error);
    writeSync(
      2,
      `shoal: a vCPU thread failed while it held mutex ${host.locks.held} of the pool, so the host ends here.\n${trace}\n`,
    );
    process.kill(process.pid, 'SIGABRT');
  }

  #slice(machine: Machine): void {
    if (machine !== this.#current) {
      this.#current?.leave();
      this.#current = machine;
    }
    const start = performance.now();
    try {
      machine.enter();
      machine.run();
    } catch (error) {
      this.#trap(machine, error);
    }
    const ranMs = performance.now() - start;
    this.#busyMs += ranMs;
    machine.countRunTime(ranMs);
    this.#poll(machine);
  }

  /** Round robin among those that are ready; the current one goes on until its slice is over. */
  #pick(now: number): Machine | null {
    const current = this.#current;
    if (current && now < this.#sliceEnd && current.readyAt() <= now) return current;
    const machines = [...this.#machines.values()];
    for (let i = 1; i <= machines.length; i++) {
      const index = (this.#turn + i) % machines.length;
      const machine = machines[index] as Machine;
      if (machine.readyAt() > now) continue;
      this.#turn = index;
      this.#sliceEnd = now + SLICE_MS;
      return machine;
    }
    return null;
  }

  #sleep(now: number, seen: number): void {
    this.#settle(now);
    this.#giveBack(now);
    const { host } = this.#thread;
    let wakeAt = Math.max(this.#returnAt, host.hasFreed ? 0 : now + host.shortRunsDueInMs);
    for (const machine of this.#machines.values()) {
      wakeAt = Math.min(wakeAt, machine.readyAt(), machine.settleAt());
    }
    if (host.freeRetired()) wakeAt = Math.min(wakeAt, now + RETIRED_AGAIN_MS);
    if (this.#mayCalmDown()) wakeAt = Math.min(wakeAt, this.#windowStart + CALM_WINDOW_MS);
    const timeout = wakeAt === Number.POSITIVE_INFINITY ? undefined : Math.max(0, wakeAt - performance.now());
    Atomics.wait(host.words, this.#doorbell, seen, timeout);
    this.#calmDown(performance.now());
  }

  /** Whether the end of this window may find a thread that was busy and is calm. */
  #mayCalmDown(): boolean {
    return (this.#wasBusy || this.#busyMs > 0) && this.#thread.hartThread.decodedBytes > CACHE_WORTH_RETURNING;
  }

  /**
   * Gives the decoded code of a busy time back, once. What idle guests still run is decoded again, at a microsecond for each straight run of
   * it, and kept from then on.
   */
  #calmDown(now: number): void {
    if (now < this.#windowStart + CALM_WINDOW_MS) return;
    const calm = this.#busyMs < (now - this.#windowStart) * CALM_SHARE;
    this.#windowStart = now;
    this.#busyMs = 0;
    if (!calm) this.#wasBusy = true;
    else if (this.#mayCalmDown()) this.#returnCode();
  }

  #returnCode(): void {
    this.#wasBusy = false;
    this.#current?.leave();
    this.#current = null;
    this.#thread.hartThread.release();
    // Busy times leave garbage, too, that a calm thread never collects by itself. Only there with --expose-gc, as our launcher starts us.
    globalThis.gc?.();
  }

  /** Also while a machine keeps the thread busy: what idle ones hold may be what somebody waits for. Seldom, for many runs at once cost less. */
  #giveBack(now: number): void {
    if (now < this.#returnAt) return;
    this.#settle(now);
    const { host } = this.#thread;
    const more = host.returnFreeRuns(RETURN_CHUNKS) > 0 && host.hasFreed;
    host.returnShortRuns();
    host.freeRetired();
    this.#returnAt = more ? now : now + RETURN_INTERVAL_MS;
  }

  #settle(now: number): void {
    for (const machine of this.#machines.values()) if (machine.settleAt() <= now) machine.settle();
  }

  // ---- messages ----

  #take(message: ToThread): void {
    if (message.kind === 'close') {
      this.#closing = true;
      for (const vm of this.#machines.keys()) this.#removing.add(vm);
      return;
    }
    if (message.kind === 'create') return this.#create(message.spec, message.origin);
    if (message.kind === 'drop-image') return this.#thread.cache.drop(message.image);
    const machine = this.#machines.get(message.vm);
    if (message.kind === 'remove') {
      if (machine) this.#removing.add(message.vm);
      else this.#thread.send({ kind: 'removed', vm: message.vm });
      return;
    }
    if (!machine) return;
    if (message.kind === 'fork') return machine.fork(message.order);
    const { ports } = machine;
    switch (message.kind) {
      case 'drop-layer':
        return machine.dropLayer(message.disk, message.file, () => this.#thread.send({ kind: 'layer-dropped', vm: message.vm }));
      case 'profile':
        return machine.profile(message.on);
      case 'open-port':
        return ports.open(message.port, message.opening);
      case 'close-port':
        return ports.close(message.port);
      case 'input':
        return ports.input(message.port, message.bytes);
      case 'end-input':
        return ports.endInput(message.port);
      case 'consumed':
        return ports.consumed(message.port, message.bytes);
      case 'resize':
        return ports.resize(message.columns, message.rows);
    }
  }

  #create(spec: MachineSpec, origin: MachineOrigin | undefined): void {
    try {
      this.#machines.set(spec.vm, new Machine(this.#thread, spec, origin));
      this.#thread.send({ kind: 'created', vm: spec.vm });
    } catch (error) {
      const code = error instanceof ShoalError ? error.code : 'guest-fault';
      const message = error instanceof Error ? error.message : String(error);
      this.#thread.send({ kind: 'created', vm: spec.vm, error: { code, message } });
    }
  }

  #tryRemove(vm: number): void {
    const machine = this.#machines.get(vm);
    if (machine && !machine.remove()) {
      // Holds are still out; the I/O thread will ring.
      return;
    }
    if (machine && machine === this.#current) this.#current = null;
    this.#removing.delete(vm);
    this.#machines.delete(vm);
    this.#thread.send({ kind: 'removed', vm });
  }
}
