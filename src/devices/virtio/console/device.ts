/**
 * virtio-console with several ports: port 0 is the guest's hvc0, the others are byte streams that the host adds when it
 * wants them.
 *
 * This file speaks the control protocol (virtio 1.2, 5.3.6.2) as Linux' drivers/char/virtio_console.c expects it; the bytes are
 * port.ts's. The driver waits for each control message that it sends with interrupts off, so those are taken at once.
 */
import type { Outbox } from '../../outbox.ts';
import type { VirtioDevice, VirtioTransport } from '../device.ts';
import { Chain, gather, scatter } from '../queue/chain.ts';
import { type ConsoleHost, Port } from './port.ts';
import * as registers from './registers.ts';
import type { ConsoleState } from './state.ts';

export type { ConsoleHost } from './port.ts';

const encoder = new TextEncoder();

export class ConsoleDevice implements VirtioDevice {
  readonly name = 'console';
  readonly deviceId = registers.DEVICE_ID;
  readonly features = (1 << registers.FEATURE_SIZE) | (1 << registers.FEATURE_MULTIPORT);
  readonly queueSizes: readonly number[] = queueSizes();
  readonly config = new Uint8Array(registers.CONFIG_SIZE);
  readonly #configView = new DataView(this.config.buffer);
  readonly #host: ConsoleHost;
  readonly #outbox: Outbox;
  readonly #chain = new Chain(registers.TRANSMIT_QUEUE_SIZE);
  readonly #ports: (Port | undefined)[] = [];
  #transport!: VirtioTransport;
  #driverReady = false;

  constructor(host: ConsoleHost, outbox: Outbox) {
    this.#host = host;
    this.#outbox = outbox;
    this.#configView.setUint32(registers.CONFIG_PORTS_MAX, registers.PORTS_MAX, true);
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
    const console = this.#makePort(0);
    console.hostOpen = true;
  }

  /** Adds port `number`, 1 … 49, under a name that the guest finds in sysfs. Does nothing if it is there. */
  addPort(number: number, name: string): void {
    if (number < 1 || number >= registers.PORTS_MAX || this.#ports[number] !== undefined) return;
    this.#makePort(number).name = name;
    this.#tellGuest();
  }

  /** While false, Linux lets writers of the port wait and gives its readers end of file; output still in the queue is dropped. */
  setHostOpen(number: number, open: boolean): void {
    const port = this.#ports[number];
    if (port === undefined) return;
    port.setHostOpen(open);
    this.#tellGuest();
  }

  /** Bytes for the guest; returns how many it took: 0 while no program of the guest has the port open. */
  offerInput(number: number, bytes: Uint8Array): number {
    return this.#ports[number]?.offerInput(bytes) ?? 0;
  }

  /** Ends the guest's input: its reads past what it was given return 0, until it closes the port. */
  endInput(number: number): void {
    this.#ports[number]?.endInput();
  }

  /** The host has room for output of the port again. */
  resume(number: number): void {
    this.#ports[number]?.resume();
  }

  /** The terminal size that hvc0 reports. */
  resizeConsole(columns: number, rows: number): void {
    this.#configView.setUint16(registers.CONFIG_COLUMNS, columns, true);
    this.#configView.setUint16(registers.CONFIG_ROWS, rows, true);
    const console = this.#ports[0];
    if (console !== undefined) console.resizeTold = false;
    if (!this.#transport.hasFeature(registers.FEATURE_MULTIPORT)) this.#transport.configChanged();
    this.#tellGuest();
  }

  portIsReady(number: number): boolean {
    return this.#ports[number]?.ready ?? false;
  }

  guestIsOpen(number: number): boolean {
    return this.#ports[number]?.guestIsOpen ?? false;
  }

  writeConfig(): void {}

  start(): void {
    if (this.#transport.hasFeature(registers.FEATURE_MULTIPORT)) return;
    // A driver that knows no ports has the console, open, from the start.
    const console = this.#ports[0];
    if (console === undefined) return;
    console.ready = true;
    this.#host.onPortReady(0, true);
    console.guestOpened(true);
  }

  notify(index: number): void {
    if (index === registers.QUEUE_CONTROL_TRANSMIT) {
      this.#readControl();
    } else if (index === registers.QUEUE_CONTROL_RECEIVE) {
      this.#tellGuest();
    } else {
      const port = this.#ports[registers.portOfQueue(index)];
      if (port === undefined) return;
      if (index === registers.transmitQueue(port.number)) port.drainOutput();
      else port.buffersCame();
    }
  }

  poll(): boolean {
    return false;
  }

  reset(): void {
    this.#driverReady = false;
    const sized = this.#configView.getUint16(registers.CONFIG_COLUMNS, true) !== 0;
    for (const port of this.#ports) port?.reset();
    const console = this.#ports[0];
    if (console !== undefined) console.resizeTold = !sized;
  }

  save(): ConsoleState {
    return {
      driverReady: this.#driverReady,
      columns: this.#configView.getUint16(registers.CONFIG_COLUMNS, true),
      rows: this.#configView.getUint16(registers.CONFIG_ROWS, true),
      ports: Array.from(this.#ports, (port) => port?.save() ?? null),
    };
  }

  restore(data: unknown): void {
    const state = data as ConsoleState;
    this.#driverReady = state.driverReady;
    this.#configView.setUint16(registers.CONFIG_COLUMNS, state.columns, true);
    this.#configView.setUint16(registers.CONFIG_ROWS, state.rows, true);
    for (const [number, port] of state.ports.entries()) {
      if (port === null) delete this.#ports[number];
      else (this.#ports[number] ?? this.#makePort(number)).restore(port);
    }
  }

  #makePort(number: number): Port {
    const stream = this.#outbox.stream(() => this.#ports[number]?.unblock());
    const receive = this.#transport.queues[registers.receiveQueue(number)];
    const transmit = this.#transport.queues[registers.transmitQueue(number)];
    const port = new Port(number, this.#host, { receive, transmit }, stream, this.#chain);
    this.#ports[number] = port;
    return port;
  }

  #readControl(): void {
    const queue = this.#transport.queues[registers.QUEUE_CONTROL_TRANSMIT];
    const chain = this.#chain;
    while (queue.pop(chain, registers.CONTROL_BYTES_MAX)) {
      const hold = queue.hold(chain.readable(0, registers.CONTROL_SIZE));
      if (hold === undefined) {
        queue.unpop();
        return;
      }
      const message = gather(hold.segments);
      hold.release();
      queue.push(chain.head, 0);
      if (message.length === registers.CONTROL_SIZE) this.#control(new DataView(message.buffer));
    }
    queue.flush();
    this.#tellGuest();
  }

  #control(message: DataView): void {
    const event = message.getUint16(4, true);
    const value = message.getUint16(6, true);
    if (event === registers.DEVICE_READY) {
      this.#driverReady = value === 1;
      return;
    }
    const port = this.#ports[message.getUint32(0, true)];
    if (port === undefined || !port.announced) return;
    if (event === registers.PORT_READY && value === 1 && !port.ready) {
      port.ready = true;
      this.#host.onPortReady(port.number, true);
    } else if (event === registers.PORT_OPEN && port.ready) {
      port.guestOpened(value === 1);
    }
  }

  /** Sends what the guest does not know yet, as far as it gave buffers; the rest when it gives more. */
  #tellGuest(): void {
    if (!this.#driverReady) return;
    for (const port of this.#ports) if (port !== undefined && !this.#tellOfPort(port)) break;
    this.#transport.queues[registers.QUEUE_CONTROL_RECEIVE].flush();
  }

  /** False when the guest has no buffer for a message that is due. */
  #tellOfPort(port: Port): boolean {
    if (!port.announced) {
      if (!this.#send(port.number, registers.PORT_ADD, 1)) return false;
      port.announced = true;
    }
    if (!port.ready) return true;
    if (!port.introduced) {
      const sent =
        port.number === 0
          ? this.#send(0, registers.CONSOLE_PORT, 1)
          : this.#send(port.number, registers.PORT_NAME, 1, encoder.encode(port.name));
      if (!sent) return false;
      port.introduced = true;
    }
    if (!port.resizeTold) {
      if (!this.#send(port.number, registers.RESIZE, 0, this.#consoleSize())) return false;
      port.resizeTold = true;
    }
    if (port.hostOpen !== port.hostOpenTold) {
      if (!this.#send(port.number, registers.PORT_OPEN, port.hostOpen ? 1 : 0)) return false;
      port.hostOpenTold = port.hostOpen;
    }
    return true;
  }

  /** As the specification says, and Linux 6.12.107 reads it. Some older kernels take the two the other way round. */
  #consoleSize(): Uint8Array {
    return this.config.slice(registers.CONFIG_COLUMNS, registers.CONFIG_ROWS + 2);
  }

  #send(port: number, event: number, value: number, extra: Uint8Array = new Uint8Array(0)): boolean {
    const queue = this.#transport.queues[registers.QUEUE_CONTROL_RECEIVE];
    const chain = this.#chain;
    if (!queue.pop(chain, CONTROL_CHAIN_BYTES_MAX)) return false;
    const message = new Uint8Array(registers.CONTROL_SIZE + extra.length);
    const view = new DataView(message.buffer);
    view.setUint32(0, port, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    message.set(extra, registers.CONTROL_SIZE);
    if (chain.writableBytes < message.length) {
      this.#transport.fail('the console got a control buffer that is too small');
      return false;
    }
    const hold = queue.hold(chain.writable(0, message.length));
    if (hold === undefined) {
      queue.unpop();
      return false;
    }
    scatter(hold.segments, message);
    hold.release();
    queue.push(chain.head, message.length);
    return true;
  }
}

const CONTROL_CHAIN_BYTES_MAX = 64 * 1024;

function queueSizes(): number[] {
  const sizes = [
    registers.RECEIVE_QUEUE_SIZE,
    registers.TRANSMIT_QUEUE_SIZE,
    registers.CONTROL_QUEUE_SIZE,
    registers.CONTROL_QUEUE_SIZE,
  ];
  for (let port = 1; port < registers.PORTS_MAX; port++) sizes.push(registers.RECEIVE_QUEUE_SIZE, registers.TRANSMIT_QUEUE_SIZE);
  return sizes;
}
