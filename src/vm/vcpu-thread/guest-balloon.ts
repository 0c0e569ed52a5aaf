/**
 * The balloon of one machine as others see it: its target, and what the guest says of its memory, as words of the VM's account. Who asks it for
 * what is reclaim's business (src/reclaim/ballooning.ts) or a person's.
 */
import { PAGE_SIZE } from '../../base/numbers.ts';
import type { BalloonDevice } from '../../devices/virtio/balloon/device.ts';
import type { BalloonStatistics } from '../../devices/virtio/balloon/statistics.ts';
import type { GuestMemory } from '../../guest-memory/index.ts';
import { VM_BALLOON_TARGET, VM_GUEST_AVAILABLE, VM_GUEST_FREE, VM_PROMISED, VM_STATISTICS } from '../../host-memory/tables.ts';

export class GuestBalloon {
  readonly #memory: Pick<GuestMemory, 'words' | 'account'>;
  readonly #device: BalloonDevice;
  /** What was looked at last. */
  #seen: BalloonStatistics;

  constructor(memory: Pick<GuestMemory, 'words' | 'account'>, device: BalloonDevice) {
    this.#memory = memory;
    this.#device = device;
    this.#seen = device.statistics();
  }

  /** Asks for this many pages. False: the target is not `expected` any more, so somebody else wants something else. */
  setTarget(pages: number, expected = this.#device.target): boolean {
    if (this.#device.target !== expected) return false;
    this.#device.setTarget(pages);
    Atomics.store(this.#memory.words, this.#memory.account + VM_BALLOON_TARGET, pages);
    return true;
  }

  /** Asks the guest how much memory it has free; the answer comes into words of the VM's account. */
  requestStatistics(): void {
    this.#device.requestStatistics();
  }

  /** Publishes what the guest has said since. It may say anything: no more than it was promised is believed. */
  poll(): void {
    const statistics = this.#device.statistics();
    if (statistics === this.#seen) return;
    this.#seen = statistics;
    const { words, account } = this.#memory;
    const { freeBytes, availableBytes = freeBytes } = statistics;
    if (availableBytes === undefined) return;
    const pages = (bytes: number): number => Math.min(words[account + VM_PROMISED], Math.floor(bytes / PAGE_SIZE));
    Atomics.store(words, account + VM_GUEST_FREE, pages(freeBytes ?? 0));
    Atomics.store(words, account + VM_GUEST_AVAILABLE, pages(availableBytes));
    Atomics.add(words, account + VM_STATISTICS, 1);
  }
}
