/**
 * One VM on its vCPU thread, its owner: memory, hart, devices, and the requests that others put to it. Everything here runs on that
 * thread, between or during its slices; nothing blocks.
 *
 *   created ─start→ running ⇄ paused      running ⇄ waiting (for memory)
 *   running ─reset→ running               any ─powerOff, guest shutdown→ stopped ─start→ running
 *   any ─a trap of ours, a guest that cannot go on→ failed
 */
import { InvariantError } from '../../base/assert.ts';
import { ShoalError } from '../../base/errors.ts';
import type { VmIndex } from '../../base/numbers.ts';
import { Hart, HartState, type HartThread } from '../../cpu/index.ts';
import { createMachineDevices, type MachineDevices } from '../../devices/machine.ts';
import { Disk, type PageCache } from '../../disk/index.ts';
import { GuestMemory } from '../../guest-memory/index.ts';
import { lifeOf } from '../../host-memory/accounts.ts';
import type { HostMemory } from '../../host-memory/index.ts';
import { VM_RUN_MS, VM_RUN_TIME } from '../../host-memory/tables.ts';
import { RAM_BASE, TIMEBASE_HZ } from '../../layout/machine.ts';
import { OUTCOME, REQUEST, RequestReceiver, type TakenRequest } from '../request-queue.ts';
import type { VmState } from '../types.ts';
import { BootLoader } from './boot-loader.ts';
import { GuestBalloon } from './guest-balloon.ts';
import { StoppableClock } from './guest-clock.ts';
import type { FromThread, MachineSpec } from './messages.ts';
import { MachinePages, type ThreadPages } from './page-source.ts';
import { Ports } from './ports.ts';
import { Profiling } from './profiling.ts';
import { SerialLog } from './serial-log.ts';

/** What a vCPU thread offers to its machines. */
export interface ThreadContext {
  readonly index: number;
  readonly host: HostMemory;
  readonly hartThread: HartThread;
  readonly cache: PageCache;
  readonly pages: ThreadPages;
  send(message: FromThread): void;
}

/** Instructions between two looks at the clock and the doorbell, about a millisecond. */
const RUN_INSTRUCTIONS = 200_000;
/** A wait for memory shorter than this is nobody's business, ms. */
const WAIT_REPORT_MS = 50;
/** Pages of image files that nobody maps, given up at once when a guest finds no memory. */
const RECLAIM_FRAMES = 1024;
/** While a guest waits, others may unmap image pages, and nobody rings for that, ms. */
const RECLAIM_AGAIN_MS = 250;
/** DESIGN §4: an idle VM gives its handy frames back within 100 ms. */
const IDLE_SETTLE_MS = 50;
const TICKS_PER_MS = TIMEBASE_HZ / 1000;

/** What a machine is made of while it has memory: from start to power-off. */
interface Body {
  readonly memory: GuestMemory;
  readonly pages: MachinePages;
  readonly hart: Hart;
  readonly devices: MachineDevices;
  readonly balloon: GuestBalloon;
  loader: BootLoader | null;
}

/** Waits for holds to drain, then for the memory to be gone; a request may wait for it. */
interface Ending {
  readonly state: 'stopped' | 'failed' | 'reset';
  readonly reason?: string;
  readonly request?: TakenRequest;
}

export class Machine {
  readonly spec: MachineSpec;
  readonly #thread: ThreadContext;
  readonly #requests: RequestReceiver;
  readonly ports: Ports;
  readonly #profiling: Profiling;
  readonly #clock = new StoppableClock();
  #body: Body | null = null;
  #state: VmState = 'created';
  #entered = false;
  #ending: Ending | null = null;
  #starting: TakenRequest | null = null;
  /** Host time (ms) at which an idle hart's timer is due; −Infinity while it is not idle. */
  #wakeAt = Number.NEGATIVE_INFINITY;
  /** Since when (ms) the hart has nothing to do and still has its handy frames; Infinity when it runs or gave them back. */
  #idleSince = Number.POSITIVE_INFINITY;
  #waitingSince = Number.POSITIVE_INFINITY;
  /** What the hart was refused is an absent page, and none has come since. */
  #waitsForPage = false;
  /** When (ms) to look for image pages to give up again, should it wait still. */
  #reclaimAt = 0;
  #returnedBytes = 0;
  #runMs = 0;
  readonly #serial = new SerialLog((bytes) => this.#log(bytes));

  constructor(thread: ThreadContext, spec: MachineSpec) {
    this.#thread = thread;
    this.spec = spec;
    this.#requests = new RequestReceiver(spec.requests);
    this.ports = new Ports(spec.vm, (message) => thread.send(message));
    this.#profiling = new Profiling(spec.vm, thread, () => this.#runMs);
    this.#build();
  }

  /** Its memory, from start to power-off. */
  get memory(): GuestMemory | undefined {
    return this.#body?.memory;
  }

  /** Its hart had the thread for so long. */
  countRunTime(ms: number): void {
    const { memory } = this;
    this.#runMs += ms;
    if (!memory) return;
    Atomics.add(memory.words, memory.account + VM_RUN_TIME, Math.round(ms * 1000));
    Atomics.store(memory.words, memory.account + VM_RUN_MS, Math.floor(this.#runMs % 2 ** 32));
  }

  profile(on: boolean): void {
    this.#profiling.turn(on, this.#body?.hart);
  }

  /** null: there is no guest. */
  get balloon(): GuestBalloon | null {
    return this.#body?.balloon ?? null;
  }

  /** Host time (ms) at which this machine wants the thread; −Infinity: now; Infinity: when something happens to it. */
  readyAt(): number {
    const body = this.#body;
    if (this.#ending) return Number.NEGATIVE_INFINITY;
    if (!body || (this.#state !== 'running' && this.#state !== 'waiting')) return Number.POSITIVE_INFINITY;
    if (body.loader) return this.#wakeAt;
    if (body.memory.waitsForMemory && !this.#thread.host.waiterMayProceed(body.memory.vm)) return Number.POSITIVE_INFINITY;
    // What it was refused is not there for an interrupt either.
    if (this.#waitingSince !== Number.POSITIVE_INFINITY)
      return this.#waitsForPage && body.memory.waitsForPages ? Number.POSITIVE_INFINITY : this.#wakeAt;
    if (body.hart.isInterruptPending()) return Number.NEGATIVE_INFINITY;
    return this.#wakeAt;
  }

  /** Host time (ms) at which `settle` is due. */
  settleAt(): number {
    if (!this.#body) return Number.POSITIVE_INFINITY;
    const { memory, pages } = this.#body;
    const waitReportAt = this.#isShort() ? this.#waitingSince + WAIT_REPORT_MS : Number.POSITIVE_INFINITY;
    const reclaimAt = memory.waitsForMemory ? this.#reclaimAt : Number.POSITIVE_INFINITY;
    return Math.min(this.#idleSince + IDLE_SETTLE_MS, waitReportAt, reclaimAt, pages.retryAt);
  }

  /**
   * What a machine that does not run owes the others: an idle one gives back what only a running hart needs (not at once, or every timer
   * tick would take it anew), one that waits for memory says so.
   */
  settle(): void {
    const now = performance.now();
    if (now >= this.#idleSince + IDLE_SETTLE_MS) {
      this.#idleSince = Number.POSITIVE_INFINITY;
      this.#body?.memory.idle();
    }
    if (this.#isShort() && now >= this.#waitingSince + WAIT_REPORT_MS) this.#setState('waiting', 'no free memory in the pool');
    if (now >= this.#reclaimAt && this.#body?.memory.waitsForMemory) this.#reclaim(now);
    // Who was refused for want of the page tries again when the doorbell rings.
    if (this.#body && now >= this.#body.pages.retryAt && this.#pollPages(this.#body))
      this.#thread.host.ringDoorbell(this.#thread.index);
  }

  /** It waits for memory and has not said so. One that only waits for a page to be read has all the memory that it needs. */
  #isShort(): boolean {
    if (this.#state !== 'running' || !this.#body) return false;
    const { memory, pages } = this.#body;
    return !this.#waitsForPage || memory.waitsForMemory || pages.lacksMemory;
  }

  /** Takes the thread: the hart's registers into the thread block. Only one machine of a thread is entered. */
  enter(): void {
    if (this.#entered || !this.#body) return;
    this.#body.memory.setTlb(this.#thread.hartThread.tlb);
    this.#body.hart.enter();
    this.#entered = true;
  }

  leave(): void {
    if (!this.#entered || !this.#body) return;
    this.#body.hart.leave();
    this.#body.memory.setTlb(null);
    this.#entered = false;
  }

  /** Runs about a millisecond. The machine is entered. */
  run(): void {
    const body = this.#body;
    if (!body || this.#ending || (this.#state !== 'running' && this.#state !== 'waiting')) return;
    if (body.loader) {
      this.#load(body, body.loader);
      return;
    }
    this.#clock.start();
    this.#idleSince = Number.POSITIVE_INFINITY;
    const result = body.hart.run(RUN_INSTRUCTIONS);
    this.#wakeAt = Number.NEGATIVE_INFINITY;
    switch (result) {
      case 'budget':
      case 'leave-requested':
        this.#notWaiting();
        break;
      case 'idle':
        this.#notWaiting();
        this.#idleSince = performance.now();
        this.#wakeAt = this.#idleSince + body.hart.nextTimer() / TICKS_PER_MS;
        break;
      case 'wait':
        this.#clock.stop();
        this.#waitsForPage = body.memory.waitsForPages && !body.memory.waitsForMemory;
        if (!this.#waitsForPage) this.#reclaim(performance.now());
        if (this.#waitingSince === Number.POSITIVE_INFINITY) this.#waitingSince = performance.now();
        break;
      case 'shutdown':
        this.#end({ state: 'stopped', reason: 'the guest powered off' });
        break;
      case 'reboot':
        this.#serial.flush();
        // A kernel that panics restarts (panic=-1), and would for ever.
        if (this.#serial.panic === '') this.#end({ state: 'reset' });
        else this.#end({ state: 'failed', reason: `the guest's kernel panicked: ${this.#serial.panic}` });
        break;
      case 'stuck':
        this.#end({ state: 'failed', reason: body.hart.stuckReport });
        break;
    }
  }

  /** What can be done without running the guest. Called when the doorbell rang, and before each slice. True: call again before sleeping. */
  poll(): boolean {
    let again = false;
    for (let request = this.#requests.take(); request; request = this.#requests.take()) {
      this.#serve(request);
      again = true;
    }
    const body = this.#body;
    if (body) {
      body.memory.poll();
      again = body.devices.poll() || again;
      body.balloon.poll();
      // Last: what has just asked for a page is to have it, and nobody rings for one that is at hand.
      again = this.#pollPages(body) || again;
      this.#reportReturned(body);
    }
    this.#serial.flush();
    if (this.#ending) this.#tryEnd(this.#ending);
    return again;
  }

  /** Absent pages come in. True: what was refused for want of one may be tried again. */
  #pollPages({ memory, pages }: Body): boolean {
    if (pages.poll() === 0) return false;
    // For another of its pages there may have been no frame.
    if (this.#waitsForPage) this.#waitingSince = memory.waitsForMemory ? performance.now() : Number.POSITIVE_INFINITY;
    this.#waitsForPage = false;
    return true;
  }

  /** Stops this machine for a fault of ours, and leaves the others alone. */
  fail(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (error instanceof InvariantError) process.stderr.write(`${error.stack}\n`);
    this.#end({ state: 'failed', reason });
  }

  /** True once nothing of it is left on this thread. */
  remove(): boolean {
    if (this.#body && !this.#ending) this.#end({ state: 'stopped', reason: 'removed' });
    if (this.#ending) this.#tryEnd(this.#ending);
    return this.#body === null;
  }

  // ---- requests ----

  #serve(request: TakenRequest): void {
    const refuse = () => request.complete(OUTCOME.refused);
    const done = () => request.complete(OUTCOME.done);
    const live = this.#state === 'running' || this.#state === 'waiting';
    if (this.#ending && request.kind !== REQUEST.powerOff) return refuse();
    switch (request.kind) {
      case REQUEST.start:
        return this.#start(request);
      case REQUEST.pause:
        if (!live) return this.#state === 'paused' ? done() : refuse();
        this.#clock.stop();
        this.#idleSince = performance.now();
        this.#setState('paused');
        return done();
      case REQUEST.resume:
        if (this.#state !== 'paused') return live ? done() : refuse();
        // One that waited for memory does so still, and is to say it again.
        this.#waitingSince = this.#body?.memory.waiting ? performance.now() : Number.POSITIVE_INFINITY;
        this.#setState('running');
        return done();
      case REQUEST.reset:
        if (!this.#body || this.#state === 'created') return refuse();
        return this.#end({ state: 'reset', request });
      case REQUEST.powerOff:
        if (!this.#body) return done();
        return this.#end({ state: 'stopped', request });
      case REQUEST.returnHandyFrames:
        this.#body?.memory.idle();
        return done();
      case REQUEST.advanceEpoch:
        this.#body?.memory.advanceEpoch();
        return done();
      case REQUEST.setBalloon:
        return this.balloon?.setTarget(request.argument) ? done() : refuse();
    }
  }

  #start(request: TakenRequest): void {
    if (this.#state !== 'created' && this.#state !== 'stopped') return request.complete(OUTCOME.refused);
    try {
      const body = this.#body ?? this.#build();
      body.loader = new BootLoader(this.spec, this.#thread.cache, body.memory);
      this.#starting = request;
      this.#wakeAt = Number.NEGATIVE_INFINITY;
      this.#clock.reset();
      this.#setState('running');
    } catch (error) {
      this.#sendError(error);
      request.complete(OUTCOME.failed);
    }
  }

  // ---- life ----

  #build(): Body {
    const { host, hartThread, cache } = this.#thread;
    const spec = this.spec;
    const pages = new MachinePages({
      host,
      thread: this.#thread.index,
      cache,
      pages: this.#thread.pages,
      images: [spec.kernel, ...(spec.initrd ? [spec.initrd] : []), ...spec.disks.map((disk) => disk.image)],
      onUnreadable: (reason) => this.#thread.send({ kind: 'unreadable', vm: spec.vm, reason }),
    });
    const memory = GuestMemory.create(host, {
      ranges: [{ address: RAM_BASE, bytes: spec.memoryBytes }],
      domain: spec.domain,
      thread: this.#thread.index,
      source: pages,
    });
    pages.attach(memory);
    let hart: Hart | null = null;
    const devices = createMachineDevices({
      memory,
      setExternalInterrupt: (level) => hart?.setExternalInterrupt(level),
      onUartOutput: (byte) => this.#serial.put(byte),
      console: {
        onOutput: (port, bytes) => this.ports.onOutput(port, bytes),
        onPortReady: (port, ready) => this.ports.onReady(port, ready),
        onGuestOpen: (port, open) => this.ports.onGuestOpen(port, open),
        onInputWanted: (port) => this.ports.onInputWanted(port),
      },
      disks: spec.disks.map((disk) => new Disk({ cache, image: disk.image, ...(disk.layer && { layer: disk.layer }) })),
    });
    hart = new Hart(hartThread, new HartState(0), memory, devices.bus, {
      clock: this.#clock,
      console: { write: (bytes) => this.#log(bytes), read: () => 0 },
    });
    this.ports.attach(devices.console);
    this.#body = { memory, pages, hart, devices, balloon: new GuestBalloon(memory, devices.balloon), loader: null };
    this.#returnedBytes = 0;
    this.#thread.send({ kind: 'slot', vm: spec.vm, life: lifeOf(host, memory.vm), instructions: 0 });
    return this.#body;
  }

  #load(body: Body, loader: BootLoader): void {
    try {
      const step = loader.step();
      if (step !== 'done') {
        // The I/O thread rings the doorbell; a pool without memory has nobody to ring it, so look again soon.
        this.#wakeAt = step === 'loading' ? Number.POSITIVE_INFINITY : performance.now() + 20;
        if (step === 'no-memory' && this.#waitingSince === Number.POSITIVE_INFINITY) this.#waitingSince = performance.now();
        return;
      }
    } catch (error) {
      this.#sendError(error);
      this.#starting?.complete(OUTCOME.failed);
      this.#starting = null;
      this.#end({ state: 'failed', reason: error instanceof Error ? error.message : String(error) });
      return;
    }
    body.loader = null;
    const entered = this.#entered;
    this.leave();
    body.hart.state.reset(loader.plan.kernelAddress, loader.plan.deviceTreeAddress);
    if (entered) this.enter();
    this.#wakeAt = Number.NEGATIVE_INFINITY;
    this.#notWaiting();
    this.#starting?.complete(OUTCOME.done);
    this.#starting = null;
  }

  /** Completions of the I/O thread may let a load go on. */
  wakeLoader(): void {
    if (this.#body?.loader && this.#wakeAt === Number.POSITIVE_INFINITY) this.#wakeAt = Number.NEGATIVE_INFINITY;
  }

  #end(ending: Ending): void {
    const earlier = this.#ending;
    if (earlier) {
      // Already on its way; power-off outranks a reset, and a second wish for the same end is content with it.
      if (earlier.state === 'reset' && ending.state !== 'reset') {
        earlier.request?.complete(OUTCOME.cancelled);
        this.#ending = ending;
      } else if (ending.request) {
        const first = earlier.request;
        const second = ending.request;
        this.#ending = {
          ...earlier,
          request: {
            ...second,
            complete: (outcome) => {
              first?.complete(outcome);
              second.complete(outcome);
            },
          },
        };
      }
    } else this.#ending = ending;
    this.#starting?.complete(OUTCOME.cancelled);
    this.#starting = null;
  }

  #tryEnd(ending: Ending): void {
    const body = this.#body;
    this.leave();
    this.#profiling.end();
    this.#clock.stop();
    this.#serial.flush();
    this.#serial.forgetPanic();
    if (body) {
      body.devices.reset();
      const freed = ending.state === 'reset' ? body.memory.reset() : body.memory.powerOff();
      if (freed === 'wait') return;
    }
    this.ports.endAll();
    this.#requests.nextGeneration();
    this.#ending = null;
    this.#waitsForPage = false;
    this.#waitingSince = Number.POSITIVE_INFINITY;
    if (ending.state === 'reset' && body) {
      body.loader = new BootLoader(this.spec, this.#thread.cache, body.memory);
      this.#wakeAt = Number.NEGATIVE_INFINITY;
      this.#clock.reset();
      this.#setState('running', 'reset');
    } else {
      this.#body = null;
      this.#thread.send({ kind: 'slot', vm: this.spec.vm, life: null, instructions: body?.hart.state.retired ?? 0 });
      this.#setState(ending.state === 'failed' ? 'failed' : 'stopped', ending.reason);
    }
    ending.request?.complete(OUTCOME.done);
  }

  /** Gives up image pages that nobody maps, in chunks that become wholly free: others are no use to a guest. */
  #reclaim(now: number): void {
    this.#reclaimAt = now + RECLAIM_AGAIN_MS;
    this.#thread.cache.reclaim(RECLAIM_FRAMES, true);
  }

  #notWaiting(): void {
    this.#waitsForPage = false;
    this.#waitingSince = Number.POSITIVE_INFINITY;
    if (this.#state === 'waiting') this.#setState('running');
  }

  #setState(state: VmState, reason?: string): void {
    if (state === this.#state && !reason) return;
    this.#state = state;
    this.#thread.send({ kind: 'state', vm: this.spec.vm, state, ...(reason && { reason }) });
  }

  #sendError(error: unknown): void {
    const wire =
      error instanceof ShoalError
        ? { code: error.code, message: error.message }
        : { code: 'guest-fault', message: String(error) };
    this.#thread.send({ kind: 'state', vm: this.spec.vm, state: this.#state, error: wire });
  }

  #reportReturned(body: Body): void {
    const returned = this.#thread.host.memoryOfVm(body.memory.vm as VmIndex).returnedBytes;
    if (returned === this.#returnedBytes) return;
    this.#returnedBytes = returned;
    this.#thread.send({ kind: 'returned', vm: this.spec.vm, bytes: returned });
  }

  #log(bytes: Uint8Array): void {
    this.#thread.send({ kind: 'log', vm: this.spec.vm, bytes });
  }
}
