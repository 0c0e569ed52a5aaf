/**
 * One VM on its vCPU thread, its owner: memory, hart, devices, and the requests that others put to it. Everything here runs on that
 * thread, between or during its slices; nothing blocks.
 *
 *   created ─start→ running ⇄ paused (where a fork may begin)      running ⇄ waiting (for memory)
 *   running ─reset→ running               any ─powerOff, guest shutdown→ stopped ─start→ running
 *   any ─a trap of ours, a guest that cannot go on→ failed
 */
import { InvariantError } from '../../base/assert.ts';
import { ShoalError } from '../../base/errors.ts';
import type { HartThread } from '../../cpu/index.ts';
import type { PageCache } from '../../disk/index.ts';
import type { GuestMemory } from '../../guest-memory/index.ts';
import { lifeOf } from '../../host-memory/accounts.ts';
import type { HostMemory } from '../../host-memory/index.ts';
import { TIMEBASE_HZ } from '../../layout/machine.ts';
import { withoutLayer } from '../disk-stack.ts';
import { OUTCOME, REQUEST, RequestReceiver, type TakenRequest } from '../request-queue.ts';
import type { VmState } from '../types.ts';
import { type Body, type BodyContext, buildBody, buildMemory, type Dormant, type MemoryPart } from './body.ts';
import { BootLoader } from './boot-loader.ts';
import { type Ending, joinEndings } from './ending.ts';
import { Forking } from './forking.ts';
import type { GuestBalloon } from './guest-balloon.ts';
import { StoppableClock } from './guest-clock.ts';
import type { ForkOrder, FromThread, MachineOrigin, MachineSpec } from './messages.ts';
import type { ThreadPages } from './page-source.ts';
import { Ports } from './ports.ts';
import { Profiling } from './profiling.ts';
import { MachineReport } from './report.ts';
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

export class Machine {
  readonly spec: MachineSpec;
  readonly #thread: ThreadContext;
  readonly #requests: RequestReceiver;
  readonly #ports: Ports;
  readonly #profiling: Profiling;
  readonly #forking: Forking;
  readonly #report: MachineReport;
  readonly #clock = new StoppableClock();
  #body: Body | null = null;
  #dormant: Dormant | null = null;
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
  readonly #serial = new SerialLog((bytes) => this.#report.log(bytes));

  constructor(thread: ThreadContext, spec: MachineSpec, origin?: MachineOrigin) {
    this.#thread = thread;
    this.spec = spec;
    this.#requests = new RequestReceiver(spec.requests);
    this.#ports = new Ports(spec.vm, (message) => thread.send(message));
    this.#report = new MachineReport(spec.vm, (message) => thread.send(message));
    this.#profiling = new Profiling(spec.vm, thread, () => this.#report.ranMs);
    this.#forking = new Forking(thread, spec);
    if (!origin) this.#build();
    else {
      this.#dormant = { part: this.#memoryPart(origin), origin };
      // Who is not looked at brings no pages either.
      if (origin.start || ('eager' in origin.memory && origin.memory.eager)) this.#revive(this.#dormant);
      this.#setState(origin.start ? 'running' : 'paused');
    }
  }

  get ports(): Ports {
    this.#rouse();
    return this.#ports;
  }

  /** Its memory, from start to power-off. */
  get memory(): GuestMemory | undefined {
    return (this.#body ?? this.#dormant?.part)?.memory;
  }

  /** Its hart had the thread for so long. */
  countRunTime(ms: number): void {
    this.#report.countRunTime(this.memory, ms);
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
    return Math.min(this.#idleSince + IDLE_SETTLE_MS, waitReportAt, reclaimAt, pages.retryAt, this.#forking.deadline);
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
    if (now >= this.#forking.deadline) this.#fork();
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
      this.#report.returned(body.memory);
      if (this.#forking.pending) again = this.#fork() || again;
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

  /** Children are to be made of it, between two slices. */
  fork(order: ForkOrder): void {
    this.#rouse();
    this.#forking.add(order);
    const live = this.#state === 'running' || this.#state === 'waiting' || this.#state === 'paused';
    if (!live || !this.#body || this.#body.loader || this.#ending)
      this.#forking.refuseAll(
        new ShoalError(
          'wrong-state',
          `A machine that is ${this.#body?.loader ? 'being loaded' : this.#state} cannot be forked; start it first.`,
        ),
      );
  }

  #fork(): boolean {
    if (!this.#body || this.#ending) return false;
    return this.#forking.step({ body: this.#body, clock: this.#clock, ports: this.#ports, leave: () => this.leave() });
  }

  /** A sealed layer of a disk is gone. It may be read until `done`. */
  dropLayer(disk: number, file: number, done: () => void): void {
    this.spec.disks = withoutLayer(this.spec.disks, disk, file);
    const device = this.#body?.disks[disk];
    if (device) device.drop(file, done);
    else done();
  }

  /** True once nothing of it is left on this thread. */
  remove(): boolean {
    this.#rouse();
    if (this.#body && !this.#ending) this.#end({ state: 'stopped', reason: 'removed' });
    if (this.#ending) this.#tryEnd(this.#ending);
    return this.#body === null;
  }

  // ---- requests ----

  #serve(request: TakenRequest): void {
    this.#rouse();
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
      this.#report.failed(this.#state, error);
      request.complete(OUTCOME.failed);
    }
  }

  // ---- life ----

  #build(): Body {
    const body = buildBody(this.#context, this.#memoryPart());
    this.#body = body;
    return body;
  }

  /** Memory of its own, which others are told of. */
  #memoryPart(origin?: MachineOrigin): MemoryPart {
    const part = buildMemory(this.#context, origin);
    this.#report.begin();
    const life = lifeOf(this.#thread.host, part.memory.vm);
    this.#thread.send({ kind: 'slot', vm: this.spec.vm, life, instructions: 0 });
    return part;
  }

  /** A fork that has not run yet gets its hart and devices when somebody wants something of it. */
  #rouse(): void {
    if (!this.#dormant) return;
    try {
      this.#revive(this.#dormant);
    } catch (error) {
      this.#report.failed(this.#state, error);
      this.#thread.send({ kind: 'slot', vm: this.spec.vm, life: null, instructions: 0 });
      this.#setState('failed', error instanceof Error ? error.message : String(error));
    }
  }

  /** @throws ShoalError `bad-image` for states that this version cannot restore; its memory is given back then */
  #revive({ part, origin }: Dormant): void {
    this.#dormant = null;
    try {
      this.#body = buildBody(this.#context, part, origin);
    } catch (error) {
      part.memory.powerOff();
      throw error;
    }
  }

  get #context(): BodyContext {
    return {
      thread: this.#thread,
      spec: this.spec,
      clock: this.#clock,
      ports: this.#ports,
      onSerial: (byte) => this.#serial.put(byte),
      onLog: (bytes) => this.#report.log(bytes),
    };
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
      this.#report.failed(this.#state, error);
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
    this.#ending = this.#ending ? joinEndings(this.#ending, ending) : ending;
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
    this.#forking.refuseAll(
      new ShoalError('aborted', 'The machine was powered off or reset before it was forked.'),
      body ?? undefined,
    );
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
    // Who hears that its port has ended knows why.
    this.#ports.endAll();
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
}
