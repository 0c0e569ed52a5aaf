/**
 * The vCPU thread's end of a VM's ports: between the console device, which has small queues, and the main thread, which has
 * patience but no right to unbounded memory. What the consumer has not taken stays in the guest's own queue, so a slow reader
 * stalls the guest process that writes its port, and nothing else.
 */
import type { ConsoleDevice } from '../../devices/virtio/console/device.ts';
import type { SavedPorts } from './machine-state.ts';
import { type FromThread, PORT_WINDOW } from './messages.ts';

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
  /** Whoever used it on the host did so in the machine that this one is a fork of. What the guest writes there is dropped, until it closes it. */
  orphaned: boolean;
  /** Somebody wants it as soon as the guest has closed it. */
  wanted: boolean;
  /** Whose it is: the main thread may have opened it again when it hears of its end. */
  opening: number;
}

const newPort = (): Port => ({
  open: false,
  announced: false,
  underway: 0,
  stalled: false,
  input: [],
  ending: false,
  orphaned: false,
  wanted: false,
  opening: 0,
});

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

  save(): SavedPorts {
    const inUse = [...this.#ports].filter(([index, port]) => index > AGENT_PORT && (port.open || port.orphaned));
    return { inUse: inUse.map(([index]) => index), agentInput: [...this.#port(AGENT_PORT).input] };
  }

  /** As `attach`, for the device of a fork. The agent goes on; of the data ports that are in use, the guest's readers come to their end. */
  inherit(device: ConsoleDevice, { inUse, agentInput }: SavedPorts): void {
    this.attach(device);
    this.#port(AGENT_PORT).input.push(...agentInput);
    for (const index of inUse) {
      this.#port(index).orphaned = true;
      device.endInput(index);
    }
  }

  // ---- what the main thread asks ----

  open(index: number, opening: number): void {
    const port = this.#port(index);
    port.opening = opening;
    port.wanted = port.orphaned && (this.#device?.guestIsOpen(index) ?? false);
    if (port.wanted) return;
    if (port.orphaned) this.#device?.setHostOpen(index, false);
    port.orphaned = false;
    port.open = true;
    port.announced = false;
    port.underway = 0;
    port.ending = false;
    // What a fork has for its agent from before stays in front.
    if (index !== AGENT_PORT) port.input.length = 0;
    if (index !== CONSOLE_PORT) this.#device?.addPort(index, `shoal.${index}`);
    this.#device?.setHostOpen(index, true);
    if (this.#device?.portIsReady(index)) this.#announce(index);
  }

  close(index: number): void {
    const port = this.#port(index);
    if (index === CONSOLE_PORT) return;
    port.wanted = false;
    if (port.orphaned) return;
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
      this.#ended(index, port);
    }
  }

  onGuestOpen(index: number, open: boolean): void {
    const port = this.#port(index);
    if (open) this.#feed(index);
    else if (port.orphaned) this.#endOrphan(index, port);
    else if (port.open) this.#ended(index, port);
  }

  #endOrphan(index: number, port: Port): void {
    port.orphaned = false;
    this.#device?.setHostOpen(index, false);
    if (port.wanted) this.open(index, port.opening);
  }

  onInputWanted(index: number): void {
    this.#feed(index);
  }

  /** The machine was reset or has ended: nothing of the old life goes to the new one. */
  endAll(): void {
    for (const [index, port] of this.#ports) {
      const hasReader = port.open || port.wanted;
      port.input.length = 0;
      port.announced = false;
      port.underway = 0;
      port.stalled = false;
      port.orphaned = false;
      port.wanted = false;
      if (hasReader && index !== CONSOLE_PORT) this.#ended(index, port);
      if (index !== CONSOLE_PORT) port.open = false;
    }
  }

  #ended(port: number, { opening }: Port): void {
    this.#send({ kind: 'port-ended', vm: this.#vm, port, opening });
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
