/**
 * virtio-balloon: how a guest gives memory back. It inflates to the host's target, reports free pages on its own,
 * and may take pages back when it runs out (deflate on OOM).
 *
 * What a ballooned or discarded page means is guest memory's affair; a page named twice counts once there.
 */
import { PAGE_SIZE } from '../../../base/numbers.ts';
import type { GuestAccess } from '../../guest-access.ts';
import type { VirtioDevice, VirtioTransport } from '../device.ts';
import { Chain, gather } from '../queue/chain.ts';
import type { VirtQueue } from '../queue/queue.ts';
import * as registers from './registers.ts';
import type { BalloonState } from './state.ts';
import { type BalloonStatistics, parseStatistics } from './statistics.ts';

export class BalloonDevice implements VirtioDevice {
  readonly name = 'balloon';
  readonly deviceId = registers.DEVICE_ID;
  readonly features =
    (1 << registers.FEATURE_STATISTICS) | (1 << registers.FEATURE_DEFLATE_ON_OOM) | (1 << registers.FEATURE_REPORTING);
  readonly queueSizes = registers.QUEUE_SIZES;
  readonly config = new Uint8Array(registers.CONFIG_SIZE);
  readonly #configView = new DataView(this.config.buffer);
  readonly #memory: GuestAccess;
  readonly #chain = new Chain(Math.max(...registers.QUEUE_SIZES));
  #transport!: VirtioTransport;
  #statisticsHead = -1;
  #statistics: BalloonStatistics = {};

  constructor(memory: GuestAccess) {
    this.#memory = memory;
  }

  /** Pages of 4 KiB that the host wants in the balloon. */
  get target(): number {
    return this.#configView.getUint32(registers.CONFIG_TARGET, true);
  }

  /** Pages in the balloon, as the driver says. */
  get actual(): number {
    return this.#configView.getUint32(registers.CONFIG_ACTUAL, true);
  }

  /** Asks the driver for `pages` pages of 4 KiB; it comes as near as it can. The target outlives a reset of the guest. */
  setTarget(pages: number): void {
    if (pages === this.target) return;
    this.#configView.setUint32(registers.CONFIG_TARGET, pages, true);
    this.#transport.configChanged();
  }

  /** What the driver last reported. */
  statistics(): BalloonStatistics {
    return this.#statistics;
  }

  /** Asks for fresh statistics; they come a little later. Does nothing while the driver still works on the last request. */
  requestStatistics(): void {
    const queue = this.#statisticsQueue();
    if (queue === undefined || this.#statisticsHead < 0) return;
    queue.push(this.#statisticsHead, 0);
    this.#statisticsHead = -1;
    queue.flush();
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
  }

  writeConfig(offset: number, size: number, value: number): void {
    if (offset === registers.CONFIG_ACTUAL && size === 4) this.#configView.setUint32(registers.CONFIG_ACTUAL, value, true);
  }

  /** Linux gives its statistics buffer, and notifies of it, before it sets DRIVER_OK. */
  start(): void {
    const queue = this.#statisticsQueue();
    if (queue !== undefined) this.#takeStatistics(queue);
  }

  notify(index: number): void {
    const queue = this.#transport.queues[index];
    if (index === registers.QUEUE_INFLATE) this.#pages(queue, (list) => this.#memory.balloon(list));
    else if (index === registers.QUEUE_DEFLATE) this.#pages(queue, (list) => this.#memory.deflate(list));
    else if (queue === this.#statisticsQueue()) this.#takeStatistics(queue);
    else if (queue === this.#reportingQueue()) this.#discard(queue);
  }

  poll(): boolean {
    return false;
  }

  reset(): void {
    this.#configView.setUint32(registers.CONFIG_ACTUAL, 0, true);
    this.#statisticsHead = -1;
    this.#statistics = {};
  }

  save(): BalloonState {
    return { target: this.target, actual: this.actual, statisticsHead: this.#statisticsHead, statistics: this.#statistics };
  }

  restore(data: unknown): void {
    const state = data as BalloonState;
    this.#configView.setUint32(registers.CONFIG_TARGET, state.target, true);
    this.#configView.setUint32(registers.CONFIG_ACTUAL, state.actual, true);
    this.#statisticsHead = state.statisticsHead;
    this.#statistics = state.statistics;
  }

  #statisticsQueue(): VirtQueue | undefined {
    return this.#transport.hasFeature(registers.FEATURE_STATISTICS)
      ? this.#transport.queues[registers.QUEUE_OPTIONAL]
      : undefined;
  }

  /** Queues of features that were not accepted do not exist, and the later ones move up (virtio 1.2, 5.5.2). */
  #reportingQueue(): VirtQueue | undefined {
    if (!this.#transport.hasFeature(registers.FEATURE_REPORTING)) return undefined;
    const before = this.#transport.hasFeature(registers.FEATURE_STATISTICS) ? 1 : 0;
    return this.#transport.queues[registers.QUEUE_OPTIONAL + before];
  }

  /** Lists of page numbers, 32 bits each, acted on as a whole. A list is copied out first: it may lie in a page that it names. */
  #pages(queue: VirtQueue, act: (guestFrames: Uint32Array) => number): void {
    const chain = this.#chain;
    while (queue.pop(chain, registers.PAGE_LIST_BYTES_MAX)) {
      const hold = queue.hold(chain.readable(0, chain.readableBytes));
      if (hold === undefined) {
        queue.unpop();
        return;
      }
      const bytes = gather(hold.segments);
      hold.release();
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const list = new Uint32Array(bytes.length >> 2);
      for (let i = 0; i < list.length; i++) list[i] = view.getUint32(4 * i, true);
      act(list);
      queue.push(chain.head, 0);
    }
    queue.flush();
  }

  /** The driver's first buffer, or its answer to a request. The device keeps it until it wants to know more. */
  #takeStatistics(queue: VirtQueue): void {
    const chain = this.#chain;
    while (queue.pop(chain, registers.STATISTICS_BYTES_MAX)) {
      if (this.#statisticsHead >= 0) {
        this.#transport.fail('the balloon got a second statistics buffer');
        return;
      }
      const hold = queue.hold(chain.readable(0, chain.readableBytes));
      if (hold === undefined) {
        queue.unpop();
        return;
      }
      this.#statistics = parseStatistics(gather(hold.segments));
      hold.release();
      this.#statisticsHead = chain.head;
    }
  }

  /** Free page reporting: whole pages inside each buffer hold nothing any more. Nothing is read or written, so nothing is held. */
  #discard(queue: VirtQueue): void {
    const chain = this.#chain;
    while (queue.pop(chain, registers.REPORT_BYTES_MAX)) {
      for (let i = chain.firstWritable; i < chain.count; i++) {
        const start = Math.ceil(chain.addresses[i] / PAGE_SIZE) * PAGE_SIZE;
        const end = Math.floor((chain.addresses[i] + chain.lengths[i]) / PAGE_SIZE) * PAGE_SIZE;
        if (end > start) this.#memory.discard(start, end - start);
      }
      queue.push(chain.head, 0);
    }
    queue.flush();
  }
}
