/**
 * The main thread's end of one port: an implementation of `PortChannel` over messages with credit. Neither direction keeps more
 * than `PORT_WINDOW` bytes for a side that does not take them.
 */
import { ShoalError } from '../base/errors.ts';
import type { PortChannel } from './types.ts';
import { PORT_WINDOW, type ToThread } from './vcpu-thread/messages.ts';

const INPUT_CHUNK = 64 * 1024;

interface PendingWrite {
  /** Bytes of all writes up to and with this one. */
  readonly upTo: number;
  resolve(): void;
  reject(error: Error): void;
}

export class MessagePortChannel implements PortChannel {
  readonly #vm: number;
  readonly #port: number;
  readonly #send: (message: ToThread) => void;
  readonly #onClose: () => void;
  readonly #received: Uint8Array[] = [];
  #wakeReader: (() => void) | null = null;
  #ended = false;
  #closed = false;
  #sent = 0;
  #accepted = 0;
  #writes: PendingWrite[] = [];
  #roomWaiters: (() => void)[] = [];
  #order: Promise<void> = Promise.resolve();

  constructor(vm: number, port: number, send: (message: ToThread) => void, onClose: () => void) {
    this.#vm = vm;
    this.#port = port;
    this.#send = send;
    this.#onClose = onClose;
  }

  write(data: Uint8Array): Promise<void> {
    const written = this.#order.then(() => this.#writeAll(data));
    this.#order = written.catch(() => {});
    return written;
  }

  end(): void {
    void this.#order.then(() => {
      if (!this.#closed) this.#send({ kind: 'end-input', vm: this.#vm, port: this.#port });
    });
  }

  async *read(): AsyncIterableIterator<Uint8Array> {
    for (;;) {
      const chunk = this.#received.shift();
      if (chunk) {
        yield chunk;
        if (!this.#closed) this.#send({ kind: 'consumed', vm: this.#vm, port: this.#port, bytes: chunk.length });
      } else if (this.#ended || this.#closed) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve;
        });
      }
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#received.length = 0;
    this.#send({ kind: 'close-port', vm: this.#vm, port: this.#port });
    this.#giveUp('The port was closed.');
    this.#onClose();
  }

  // ---- what the vCPU thread says ----

  onOutput(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#received.push(bytes);
    this.#wake();
  }

  onAccepted(bytes: number): void {
    this.#accepted += bytes;
    while (this.#writes[0] && this.#writes[0].upTo <= this.#accepted) this.#writes.shift()?.resolve();
    for (const wake of this.#roomWaiters.splice(0)) wake();
  }

  /** The guest closed its end, or the machine ended. */
  onEnded(): void {
    this.#ended = true;
    this.#giveUp('The guest closed the port.');
  }

  async #writeAll(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += INPUT_CHUNK) {
      while (this.#sent - this.#accepted >= PORT_WINDOW && !this.#closed && !this.#ended) {
        await new Promise<void>((resolve) => {
          this.#roomWaiters.push(resolve);
        });
      }
      if (this.#closed || this.#ended) throw new ShoalError('agent-unavailable', 'The guest no longer reads this stream.');
      // Copied: the message must not change when the caller uses its buffer again.
      const bytes = data.slice(at, at + INPUT_CHUNK);
      this.#sent += bytes.length;
      this.#send({ kind: 'input', vm: this.#vm, port: this.#port, bytes });
    }
    if (this.#accepted >= this.#sent) return;
    await new Promise<void>((resolve, reject) => {
      this.#writes.push({ upTo: this.#sent, resolve, reject });
    });
  }

  #giveUp(why: string): void {
    this.#wake();
    for (const write of this.#writes.splice(0)) write.reject(new ShoalError('agent-unavailable', why));
    for (const wake of this.#roomWaiters.splice(0)) wake();
  }

  #wake(): void {
    const wake = this.#wakeReader;
    this.#wakeReader = null;
    wake?.();
  }
}
