/** virtio-rng: random bytes from the host's generator, as many as the guest asks for, a chunk at a time. */
import { randomFillSync } from 'node:crypto';
import type { VirtioDevice, VirtioTransport } from '../device.ts';
import { Chain } from '../queue/chain.ts';
import * as registers from './registers.ts';
import type { RngState } from './state.ts';

export class RngDevice implements VirtioDevice {
  readonly name = 'rng';
  readonly deviceId = registers.DEVICE_ID;
  readonly features = 0;
  readonly queueSizes = [registers.QUEUE_SIZE];
  readonly config = new Uint8Array(0);
  readonly #chain = new Chain(registers.QUEUE_SIZE);
  readonly #fill: (bytes: Uint8Array) => void;
  #transport!: VirtioTransport;

  /** `fill` is for tests that need to know the bytes. */
  constructor(fill: (bytes: Uint8Array) => void = randomFillSync) {
    this.#fill = fill;
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
  }

  writeConfig(): void {}

  start(): void {}

  notify(): void {
    const queue = this.#transport.queues[0];
    const chain = this.#chain;
    while (queue.pop(chain, registers.CHAIN_BYTES_MAX)) {
      const bytes = Math.min(chain.writableBytes, registers.CHUNK_BYTES);
      if (bytes > 0) {
        const hold = queue.hold(chain.writable(0, bytes));
        if (hold === undefined) {
          queue.unpop();
          return;
        }
        for (const segment of hold.segments) this.#fill(segment);
        hold.release();
      }
      queue.push(chain.head, bytes);
    }
    queue.flush();
  }

  poll(): boolean {
    return false;
  }

  reset(): void {}

  save(): RngState {
    return null;
  }

  restore(): void {}
}
