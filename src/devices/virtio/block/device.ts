/**
 * virtio-blk: takes requests from the queue, keeps those that touch the same pages in order, and answers them as they
 * finish. How a request moves its bytes is request.ts's affair, where the bytes are kept the backend's.
 *
 * Requests complete in `poll`, later than the notification; the queue's size bounds how many there are.
 */
import { PAGE_SIZE } from '../../../base/numbers.ts';
import type { DmaRange, GuestAccess, Hold } from '../../guest-access.ts';
import type { Outbox, OutboxStream } from '../../outbox.ts';
import type { VirtioDevice, VirtioTransport } from '../device.ts';
import { Chain, gather, scatter } from '../queue/chain.ts';
import type { BlockBackend } from './backend.ts';
import * as registers from './registers.ts';
import { cutPieces, finished, type Progress, ReadWork, type RequestContext, type Work, WriteWork } from './request.ts';
import type { BlockState } from './state.ts';

export type { BlockBackend } from './backend.ts';

interface Request {
  readonly head: number;
  readonly type: number;
  readonly firstPage: number;
  readonly endPage: number;
  /** Bytes of data that the guest gets. */
  readonly readBytes: number;
  /** The byte that the status goes to, held from the start, so that an answer never has to wait. */
  readonly status: Hold;
  /** Which life of the queue it belongs to. */
  readonly generation: number;
  /** Begins the work, or gives null: not now. */
  readonly begin: () => Work | null;
  /** Null until it has begun. */
  work: Work | null;
  /** Gives up what is held for a request that has not begun. */
  readonly abandon: () => void;
}

/** How long a reset waits for a file system that does not answer. Past that, the pages stay held until it does. */
const DRAIN_MS_MAX = 10_000;

export class BlockDevice implements VirtioDevice {
  readonly name: string;
  readonly deviceId = registers.DEVICE_ID;
  readonly features: number;
  readonly queueSizes = [registers.QUEUE_SIZE];
  readonly config = new Uint8Array(registers.CONFIG_SIZE);
  readonly #backend: BlockBackend;
  readonly #context: RequestContext;
  readonly #stream: OutboxStream;
  readonly #chain = new Chain(registers.QUEUE_SIZE);
  #transport!: VirtioTransport;
  #requests: Request[] = [];
  /** Restored requests that were not yet begun anew. */
  #restart: number[] = [];
  #awake = false;
  /** Nothing is taken from the queue now. */
  #quiet = false;

  constructor(name: string, backend: BlockBackend, memory: GuestAccess, outbox: Outbox) {
    this.name = name;
    this.#backend = backend;
    this.#context = { backend, memory, wake: () => this.#wake() };
    this.#stream = outbox.stream(() => this.#wake());
    this.features =
      (1 << registers.FEATURE_SEGMENTS_MAX) |
      (1 << registers.FEATURE_BLOCK_SIZE) |
      (1 << (backend.readOnly ? registers.FEATURE_READ_ONLY : registers.FEATURE_FLUSH));
    const view = new DataView(this.config.buffer);
    view.setBigUint64(registers.CONFIG_CAPACITY, BigInt(backend.bytes / registers.SECTOR_SIZE), true);
    view.setUint32(registers.CONFIG_SEGMENTS_MAX, registers.SEGMENTS_MAX, true);
    view.setUint32(registers.CONFIG_BLOCK_SIZE, registers.BLOCK_SIZE, true);
  }

  get requestsInFlight(): number {
    return this.#requests.length + this.#restart.length;
  }

  /** What the guest asks for meanwhile stays in its queue. */
  quiesce(quiet: boolean): void {
    if (this.#quiet && !quiet) this.#transport.queues[0].retry = true;
    this.#quiet = quiet;
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
  }

  writeConfig(): void {}

  start(): void {}

  notify(): void {
    if (this.#restart.length > 0 || this.#quiet) return;
    const queue = this.#transport.queues[0];
    while (queue.pop(this.#chain, registers.CHAIN_BYTES_MAX)) {
      const request = this.#accept();
      if (request === undefined) {
        queue.unpop();
        break;
      }
      this.#requests.push(request);
    }
    this.#advance();
  }

  poll(): boolean {
    const completed = this.#backend.poll();
    if (this.#restart.length > 0) this.#restartSaved();
    if (!completed && !this.#awake) return false;
    this.#advance();
    return true;
  }

  reset(): void {
    this.#restart = [];
    const requests = this.#requests;
    this.#requests = [];
    this.#stream.reset();
    this.#backend.drain(DRAIN_MS_MAX);
    // Not sooner: what is at the I/O thread is finished by then, and its completions have released its pages.
    for (const request of requests) {
      request.status.release();
      if (request.work === null) request.abandon();
      else request.work.cancel();
    }
  }

  save(): BlockState {
    return { heads: [...this.#restart, ...this.#requests.map((request) => request.head)] };
  }

  restore(data: unknown): void {
    this.#restart = [...(data as BlockState).heads];
  }

  #wake(): void {
    this.#awake = true;
  }

  #restartSaved(): void {
    const queue = this.#transport.queues[0];
    while (this.#restart.length > 0 && queue.parse(this.#restart[0], this.#chain)) {
      const request = this.#accept();
      if (request === undefined) return;
      this.#restart.shift();
      this.#requests.push(request);
    }
    this.#wake();
  }

  /** Reads the header of the request in the chain and holds what it needs. Undefined: pages must wait, or the request is malformed. */
  #accept(): Request | undefined {
    const queue = this.#transport.queues[0];
    const chain = this.#chain;
    if (chain.readableBytes < registers.HEADER_SIZE || chain.writableBytes < 1) {
      this.#transport.fail(`${this.name} got a request without a header or a status byte`);
      return undefined;
    }
    const headerHold = queue.hold(chain.readable(0, registers.HEADER_SIZE));
    if (headerHold === undefined) return undefined;
    const header = new DataView(gather(headerHold.segments).buffer);
    headerHold.release();
    const status = queue.hold(chain.writable(chain.writableBytes - 1, 1));
    if (status === undefined) return undefined;
    const type = header.getUint32(0, true);
    const sector = header.getUint32(8, true) + header.getUint32(12, true) * 2 ** 32;
    if (type === registers.TYPE_IN) return this.#acceptRead(status, sector);
    if (type === registers.TYPE_OUT) return this.#acceptWrite(status, sector);
    if (type === registers.TYPE_GET_ID) return this.#acceptGetId(status);
    if (type === registers.TYPE_FLUSH) return this.#request(status, type, () => this.#post(0, 0, undefined));
    return this.#request(status, type, () => finished('unsupported'));
  }

  #acceptRead(status: Hold, sector: number): Request {
    const bytes = this.#chain.writableBytes - 1;
    if (!this.#inRange(sector, bytes)) return this.#request(status, registers.TYPE_IN, () => finished('failed'));
    const offset = sector * registers.SECTOR_SIZE;
    const pieces = cutPieces(this.#chain.writable(0, bytes), offset);
    return {
      ...this.#request(status, registers.TYPE_IN, () => new ReadWork(this.#context, pieces)),
      ...pageRange(offset, bytes),
      readBytes: bytes,
    };
  }

  #acceptWrite(status: Hold, sector: number): Request | undefined {
    const bytes = this.#chain.readableBytes - registers.HEADER_SIZE;
    if (this.#backend.readOnly || !this.#inRange(sector, bytes)) {
      return this.#request(status, registers.TYPE_OUT, () => finished('failed'));
    }
    const data = this.#transport.queues[0].hold(this.#chain.readable(registers.HEADER_SIZE, bytes));
    if (data === undefined) {
      status.release();
      return undefined;
    }
    const offset = sector * registers.SECTOR_SIZE;
    const request = this.#request(status, registers.TYPE_OUT, () => this.#post(bytes, offset, data));
    return { ...request, ...pageRange(offset, bytes), abandon: () => data.release() };
  }

  #acceptGetId(status: Hold): Request {
    const bytes = Math.min(registers.ID_BYTES, this.#chain.writableBytes - 1);
    const ranges: DmaRange[] = this.#chain.writable(0, bytes);
    const begin = (): Work | null => {
      if (bytes === 0) return finished('done');
      const hold = this.#context.memory.hold(ranges, this.#context.wake);
      if (hold === 'wait') return null;
      if (hold === 'fault') return finished('fault');
      scatter(hold.segments, new TextEncoder().encode(this.#backend.id.padEnd(registers.ID_BYTES, '\0')));
      hold.release();
      return finished('done');
    };
    return { ...this.#request(status, registers.TYPE_GET_ID, begin), readBytes: bytes };
  }

  /** The request in the chain, with no pages of the disk. */
  #request(status: Hold, type: number, begin: Request['begin']): Request {
    const generation = this.#transport.queues[0].generation;
    return {
      head: this.#chain.head,
      type,
      firstPage: 0,
      endPage: 0,
      readBytes: 0,
      status,
      generation,
      begin,
      work: null,
      abandon: () => {},
    };
  }

  /** Writes and flushes are seen by the world, so they go through the outbox. Null: it has no room now. */
  #post(bytes: number, offset: number, data: Hold | undefined): Work | null {
    const work = new WriteWork(this.#context, offset, data);
    const posted = this.#stream.post(bytes, () => {
      work.submit();
      return true;
    });
    return posted ? work : null;
  }

  #inRange(sector: number, bytes: number): boolean {
    return bytes > 0 && bytes % registers.SECTOR_SIZE === 0 && sector * registers.SECTOR_SIZE + bytes <= this.#backend.bytes;
  }

  /** Begins what may begin, moves on what has begun, and answers what is finished. */
  #advance(): void {
    // A wake-up that comes while this runs is not lost: it makes the next poll come here again.
    this.#awake = false;
    const left: Request[] = [];
    for (const request of this.#requests) {
      const blocked = request.work === null && left.some((earlier) => conflict(earlier, request));
      const progress = blocked ? 'working' : this.#step(request);
      if (progress === 'working') left.push(request);
      else this.#answer(request, progress);
    }
    this.#requests = left;
    this.#transport.queues[0].flush();
  }

  #step(request: Request): Progress {
    request.work ??= request.begin();
    return request.work === null ? 'working' : request.work.advance();
  }

  #answer(request: Request, progress: Progress): void {
    if (progress === 'fault') this.#transport.fail(`${this.name} got a buffer outside RAM`);
    request.status.segments[0][0] = STATUS_CODES[progress] ?? registers.STATUS_IO_ERROR;
    request.status.release();
    const queue = this.#transport.queues[0];
    if (request.generation === queue.generation) queue.push(request.head, progress === 'done' ? request.readBytes + 1 : 1);
    // One that waited for these pages may begin now.
    this.#awake = this.#requests.length > 1;
  }
}

const STATUS_CODES: Partial<Record<Progress, number>> = { done: registers.STATUS_OK, unsupported: registers.STATUS_UNSUPPORTED };

const pageRange = (offset: number, bytes: number): { firstPage: number; endPage: number } => ({
  firstPage: Math.floor(offset / PAGE_SIZE),
  endPage: Math.ceil((offset + bytes) / PAGE_SIZE),
});

/** Two requests must keep their order when they touch the same page and one of them writes it. */
function conflict(a: Request, b: Request): boolean {
  if (a.type !== registers.TYPE_OUT && b.type !== registers.TYPE_OUT) return false;
  return a.firstPage < b.endPage && b.firstPage < a.endPage;
}
