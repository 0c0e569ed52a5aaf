/**
 * One port of the console: what the host wants, what the guest was told, and the bytes both ways.
 *
 * Bytes are never kept here. Output that the host has no room for stays in the guest's transmit queue, and input that
 * the guest has no buffer for stays with the host: a slow side slows the other, and only on this port.
 */
import type { OutboxStream } from '../../outbox.ts';
import { type Chain, gather, scatter } from '../queue/chain.ts';
import type { VirtQueue } from '../queue/queue.ts';
import { CHAIN_BYTES_MAX } from './registers.ts';
import type { PortState } from './state.ts';

export interface ConsoleHost {
  /**
   * Bytes (a copy) that the guest wrote. False: there is no room; they stay in the guest's queue, whose writer blocks, until
   * `resume(port)`. Port 0 must take them: Linux waits for its console with interrupts off.
   */
  onOutput(port: number, bytes: Uint8Array): boolean;
  /** The guest's driver has the port (true), or has it no more: reset, or the driver left (false). */
  onPortReady(port: number, ready: boolean): void;
  /** A program of the guest opened or closed the port. A close comes after all that was written before it. */
  onGuestOpen(port: number, open: boolean): void;
  /** After `offerInput` took fewer bytes than it was offered: there is room now. */
  onInputWanted(port: number): void;
}

interface OpenEvent {
  readonly open: boolean;
  /** It is due when the transmit queue was emptied up to here, mod 2^16; -1 while that could not be read. */
  at: number;
}

/** Opens and closes that the host has not been told yet; from then on the oldest pair is dropped. */
const EVENTS_MAX = 64;

export class Port {
  readonly number: number;
  name = '';
  /** PORT_ADD was sent. */
  announced = false;
  /** What the guest must know once it is ready (console or name) was sent. */
  introduced = false;
  ready = false;
  hostOpen = false;
  hostOpenTold = false;
  resizeTold = true;
  #guestOpen = false;
  #inputEnded = false;
  #inputWanted = false;
  /** The host, or the outbox, had no room for the buffer that is next. */
  #blocked = false;
  /** The host's callbacks may call back in; one drain at a time. */
  #draining = false;
  #events: OpenEvent[] = [];
  readonly #host: ConsoleHost;
  readonly #receive: VirtQueue;
  readonly #transmit: VirtQueue;
  readonly #stream: OutboxStream;
  readonly #chain: Chain;

  constructor(
    number: number,
    host: ConsoleHost,
    queues: { receive: VirtQueue; transmit: VirtQueue },
    stream: OutboxStream,
    chain: Chain,
  ) {
    this.number = number;
    this.#host = host;
    this.#receive = queues.receive;
    this.#transmit = queues.transmit;
    this.#stream = stream;
    this.#chain = chain;
  }

  /** A program of the guest has the port open, and the host was told. */
  get guestIsOpen(): boolean {
    return this.#guestOpen && this.#events.length === 0;
  }

  /** The guest says that a program opened or closed the port. What it wrote before may still wait in the queue. */
  guestOpened(open: boolean): void {
    this.#guestOpen = open;
    // Linux throws away what a closed port has not read, and the next program starts afresh.
    if (!open) this.#inputEnded = false;
    else if (this.#inputEnded) this.#putEndOfInput();
    if (this.#events.length >= EVENTS_MAX) this.#events.splice(0, 2);
    this.#events.push({ open, at: this.#transmit.availableIndex() });
    this.#tellEvents();
  }

  /** Takes the guest's output as far as the host has room. */
  drainOutput(): void {
    if (this.#blocked || this.#draining) return;
    this.#draining = true;
    while (this.#transmit.pop(this.#chain, CHAIN_BYTES_MAX)) {
      // The chain is shared by all ports, so its head is kept: a callback may use it.
      const head = this.#chain.head;
      if (!this.#takeOutput()) {
        this.#transmit.unpop();
        break;
      }
      this.#transmit.push(head, 0);
    }
    this.#draining = false;
    this.#transmit.flush();
    this.#tellEvents();
  }

  /** The host has room again. */
  resume(): void {
    this.#stream.resume();
  }

  /** The outbox has room again. */
  unblock(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.drainOutput();
  }

  /** Opens or closes the host's end; the guest is told by the device. */
  setHostOpen(open: boolean): void {
    if (open !== this.hostOpen) this.#inputEnded = false;
    this.hostOpen = open;
    // What waits is from before, for a host side that is gone.
    this.#blocked = false;
    this.drainOutput();
  }

  /** Puts bytes into the guest's buffers; returns how many it took. */
  offerInput(bytes: Uint8Array): number {
    let taken = 0;
    while (taken < bytes.length && this.guestIsOpen && !this.#inputEnded) {
      const count = this.#fillBuffer(bytes.subarray(taken));
      if (count === 0) break;
      taken += count;
    }
    this.#inputWanted = taken < bytes.length;
    this.#receive.flush();
    return taken;
  }

  /**
   * End of file for the guest's readers, or for the next one that comes, until it closes the port. A used buffer of length 0 makes one read return 0, and the
   * other direction stays open; PORT_OPEN 0 would block the guest's writers too.
   */
  endInput(): void {
    if (this.#inputEnded) return;
    this.#inputEnded = true;
    if (this.#guestOpen) this.#putEndOfInput();
  }

  /** The guest gave buffers for input. While input has ended, each of them becomes another end of file. */
  buffersCame(): void {
    if (this.#inputEnded && this.#guestOpen) {
      this.#putEndOfInput();
    } else if (this.#inputWanted && this.guestIsOpen) {
      this.#inputWanted = false;
      this.#host.onInputWanted(this.number);
    }
  }

  /** The driver is gone: what the guest knew is void. What the host wants stays. */
  reset(): void {
    const wasReady = this.ready;
    const wasOpen = this.#guestOpen;
    this.announced = false;
    this.introduced = false;
    this.ready = false;
    this.hostOpenTold = false;
    this.#guestOpen = false;
    this.#inputEnded = false;
    this.#inputWanted = false;
    this.#blocked = false;
    this.#events = [];
    if (wasOpen) this.#host.onGuestOpen(this.number, false);
    if (wasReady) this.#host.onPortReady(this.number, false);
  }

  save(): PortState {
    return {
      name: this.name,
      announced: this.announced,
      introduced: this.introduced,
      ready: this.ready,
      guestOpen: this.#guestOpen,
      hostOpen: this.hostOpen,
      hostOpenTold: this.hostOpenTold,
      inputEnded: this.#inputEnded,
      resizeTold: this.resizeTold,
    };
  }

  restore(state: PortState): void {
    this.name = state.name;
    this.announced = state.announced;
    this.introduced = state.introduced;
    this.ready = state.ready;
    this.hostOpen = state.hostOpen;
    this.hostOpenTold = state.hostOpenTold;
    this.resizeTold = state.resizeTold;
    this.#guestOpen = state.guestOpen;
    this.#inputEnded = state.inputEnded;
    this.#inputWanted = true;
  }

  /** The buffer in the chain goes out. False: it stays in the ring, for its pages must wait or there is no room. */
  #takeOutput(): boolean {
    const chain = this.#chain;
    if (chain.readableBytes === 0 || !this.#wanted()) return true;
    const hold = this.#transmit.hold(chain.readable(0, chain.readableBytes));
    if (hold === undefined) return false;
    const bytes = gather(hold.segments);
    hold.release();
    this.#blocked = !this.#stream.post(bytes.length, () => this.#deliver(bytes));
    return !this.#blocked;
  }

  /** Output of a port whose host end is closed is dropped. The console is always listened to. */
  #wanted(): boolean {
    return this.hostOpen || this.number === 0;
  }

  #deliver(bytes: Uint8Array): boolean {
    return this.#host.onOutput(this.number, bytes) || this.number === 0;
  }

  /** One buffer of the guest filled with the first of `bytes`; 0 when there is none now. */
  #fillBuffer(bytes: Uint8Array): number {
    const queue = this.#receive;
    const chain = this.#chain;
    if (!queue.pop(chain, CHAIN_BYTES_MAX)) return 0;
    const count = Math.min(bytes.length, chain.writableBytes);
    const hold = queue.hold(chain.writable(0, count));
    if (hold === undefined) {
      queue.unpop();
      return 0;
    }
    scatter(hold.segments, bytes.subarray(0, count));
    hold.release();
    queue.push(chain.head, count);
    return count;
  }

  #putEndOfInput(): void {
    const queue = this.#receive;
    if (queue.pop(this.#chain, CHAIN_BYTES_MAX)) queue.push(this.#chain.head, 0);
    queue.flush();
  }

  /** Opens and closes are effects too: they go out in order with the bytes. */
  #tellEvents(): void {
    while (this.#events.length > 0) {
      const event = this.#events[0];
      if (event.at < 0) event.at = this.#transmit.availableIndex();
      const ahead = (event.at - this.#transmit.poppedIndex) & 0xffff;
      if (event.at < 0 || (ahead > 0 && ahead < 0x8000)) return;
      this.#events.shift();
      const told = this.#stream.post(0, () => {
        this.#host.onGuestOpen(this.number, event.open);
        return true;
      });
      if (!told) {
        this.#events.unshift(event);
        return;
      }
    }
    if (this.#guestOpen && this.#inputWanted) this.buffersCame();
  }
}
