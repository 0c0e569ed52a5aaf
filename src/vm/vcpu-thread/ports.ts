/**
 * The vCPU thread's end of a VM's ports: between the console device, which has small queues, and the main thread, which has
 * patience but no right to unbounded memory. What the consumer has not taken stays in the guest's own queue, so a slow reader
 * stalls the guest process that writes its port, and nothing else.
 */
import type { ConsoleDevice } from '../../devices/virtio/console/device.ts';
import type { FromThread } from './messages.ts';
import { PORT_WINDOW } from './messages.ts';

/** hvc0: Linux spins until its bytes are taken, so they always are; a main thread that lags loses the oldest in its bounded log. */
const CONSOLE_PORT = 0;

const AGENT_PORT = 1;
const AGENT_PORT_NAME = 'shoal.agent';

interface Port {
  open: boolean;
  announced: boolean;
  /** Sent to the main thread and not yet consumed, bytes. */
  underway: number;
  /** The device kept a buffer back because the window was full. */
  stalled: boolean;
  /** Input that the guest's queue had no room for. */
  readonly input: Uint8Array[];
  ending: boolean;
}

const newPort = (): Port => ({ open: false, announced: false, underway: 0, stalled: false, input: [], ending: false });

export class Ports {
  readonly #vm: number;
  readonly #send: (message: FromThread) => void;
  readonly #ports = new Map<number, Port>();
  #device: ConsoleDevice | null = null;

  constructor(vm: number, send: (message: FromThread) => void) {
    this.#vm = vm;
    this.#send = send;
  }

  attach(device: ConsoleDevice): void {
    this.#device = device;
    this.#port(CONSOLE_PORT).open = true;
    // There from the start, so that the agent finds it whenever it comes up.
    device.addPort(AGENT_PORT, AGENT_PORT_NAME);
  }

  // ---- what the main thread asks ----

  open(index: number): void {
    const port = this.#port(index);
    port.open = true;
    port.announced = false;
    port.underway = 0;
    port.ending = false;
    port.input.length = 0;
    if (index !== CONSOLE_PORT) this.#device?.addPort(index, `shoal.${index}`);
    this.#device?.setHostOpen(index, true);
    if (this.#device?.portIsReady(index)) this.#announce(index);
  }

  close(index: number): void {
    const port = this.#port(index);
    if (index === CONSOLE_PORT) return;
    port.open = false;
    port.input.length = 0;
    this.#device?.setHostOpen(index, false);
    this.#device?.resume(index);
  }

  input(index: number, bytes: Uint8Array): void {
    this.#port(index).input.push(bytes);
    this.#feed(index);
  }

  endInput(index: number): void {
    this.#port(index).ending = true;
    this.#feed(index);
  }

  consumed(index: number, bytes: number): void {
    const port = this.#port(index);
    port.underway = Math.max(0, port.underway - bytes);
    if (!port.stalled || port.underway > PORT_WINDOW / 2) return;
    port.stalled = false;
    this.#device?.resume(index);
  }

  resize(columns: number, rows: number): void {
    this.#device?.resizeConsole(columns, rows);
  }

  // ---- what the device tells ----

  onOutput(index: number, bytes: Uint8Array): boolean {
    const port = this.#port(index);
    if (!port.open) return true;
    if (index === CONSOLE_PORT) this.#send({ kind: 'log', vm: this.#vm, bytes });
    else if (port.underway > 0 && port.underway + bytes.length > PORT_WINDOW) {
      port.stalled = true;
      return false;
    }
    port.underway += bytes.length;
    this.#send({ kind: 'output', vm: this.#vm, port: index, bytes });
    return true;
  }

  onReady(index: number, ready: boolean): void {
    const port = this.#port(index);
    if (ready) {
      if (port.open) {
        this.#device?.setHostOpen(index, true);
        this.#announce(index);
      }
    } else if (port.open) {
      port.announced = false;
      this.#send({ kind: 'port-ended', vm: this.#vm, port: index });
    }
  }

  onGuestOpen(index: number, open: boolean): void {
    if (open) this.#feed(index);
    else if (this.#port(index).open) this.#send({ kind: 'port-ended', vm: this.#vm, port: index });
  }

  onInputWanted(index: number): void {
    this.#feed(index);
  }

  /** The machine was reset or has ended: nothing of the old life goes to the new one. */
  endAll(): void {
    for (const [index, port] of this.#ports) {
      port.input.length = 0;
      port.announced = false;
      port.underway = 0;
      port.stalled = false;
      if (port.open && index !== CONSOLE_PORT) this.#send({ kind: 'port-ended', vm: this.#vm, port: index });
      if (index !== CONSOLE_PORT) port.open = false;
    }
  }

  #announce(index: number): void {
    const port = this.#port(index);
    if (port.announced) return;
    port.announced = true;
    this.#send({ kind: 'port-ready', vm: this.#vm, port: index });
    this.#feed(index);
  }

  #feed(index: number): void {
    const port = this.#port(index);
    const device = this.#device;
    if (!device) return;
    let accepted = 0;
    for (let chunk = port.input[0]; chunk; chunk = port.input[0]) {
      const taken = device.offerInput(index, chunk);
      accepted += taken;
      if (taken < chunk.length) {
        port.input[0] = chunk.subarray(taken);
        break;
      }
      port.input.shift();
    }
    if (accepted > 0) this.#send({ kind: 'accepted', vm: this.#vm, port: index, bytes: accepted });
    if (port.ending && port.input.length === 0) {
      port.ending = false;
      device.endInput(index);
    }
  }

  #port(index: number): Port {
    let port = this.#ports.get(index);
    if (!port) this.#ports.set(index, (port = newPort()));
    return port;
  }
}
