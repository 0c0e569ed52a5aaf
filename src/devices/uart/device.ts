/**
 * `ns16550a`: the serial port on which a kernel speaks before it has found its virtio console.
 *
 * Sending takes no time: the transmitter is always empty. The line settings are kept and mean nothing.
 */
import type { Device, DeviceState, InterruptLine } from '../device.ts';
import { stateData } from '../state.ts';
import * as registers from './registers.ts';
import { UART_STATE_VERSION, type UartState } from './state.ts';

export interface UartHost {
  /** One byte that the guest sent. */
  onOutput(byte: number): void;
  /** After `offerInput` took fewer bytes than it was offered: the FIFO has room again. */
  onInputWanted(): void;
}

export class Uart implements Device {
  readonly name = 'uart';
  readonly #line: InterruptLine;
  readonly #host: UartHost;
  readonly #received: number[] = [];
  #inputWanted = false;
  #divisor = 0;
  #interruptEnable = 0;
  #lineControl = 0;
  #modemControl = 0;
  #scratch = 0;
  #fifoOn = false;
  #sendEmptyPending = false;

  constructor(line: InterruptLine, host: UartHost) {
    this.#line = line;
    this.#host = host;
  }

  /** Puts bytes into the receive FIFO; returns how many it took. */
  offerInput(bytes: Uint8Array): number {
    const taken = Math.min(bytes.length, registers.FIFO_BYTES - this.#received.length);
    for (let i = 0; i < taken; i++) this.#received.push(bytes[i]);
    this.#inputWanted = taken < bytes.length;
    this.#updateLine();
    return taken;
  }

  /** A wider access reaches the one register at its address. */
  read(offset: number): number {
    const divisorLatch = (this.#lineControl & registers.LCR_DIVISOR_LATCH) !== 0;
    switch (offset) {
      case registers.RBR:
        return divisorLatch ? this.#divisor & 0xff : this.#receive();
      case registers.IER:
        return divisorLatch ? this.#divisor >>> 8 : this.#interruptEnable;
      case registers.IIR:
        return this.#identifyInterrupt();
      case registers.LCR:
        return this.#lineControl;
      case registers.MCR:
        return this.#modemControl;
      case registers.LSR:
        return registers.LSR_SEND_EMPTY | registers.LSR_IDLE | (this.#received.length > 0 ? registers.LSR_READY : 0);
      case registers.MSR:
        return this.#modemStatus();
      case registers.SCR:
        return this.#scratch;
      default:
        return 0;
    }
  }

  write(offset: number, _size: number, value: number): void {
    const byte = value & 0xff;
    const divisorLatch = (this.#lineControl & registers.LCR_DIVISOR_LATCH) !== 0;
    switch (offset) {
      case registers.THR:
        if (divisorLatch) this.#divisor = (this.#divisor & 0xff00) | byte;
        else this.#send(byte);
        break;
      case registers.IER:
        if (divisorLatch) this.#divisor = (this.#divisor & 0xff) | (byte << 8);
        else this.#enableInterrupts(byte);
        break;
      case registers.FCR:
        this.#fifoOn = (byte & registers.FCR_ENABLE) !== 0;
        if ((byte & registers.FCR_CLEAR_RECEIVE) !== 0) this.#received.length = 0;
        break;
      case registers.LCR:
        this.#lineControl = byte;
        break;
      case registers.MCR:
        this.#modemControl = byte & 0x1f;
        break;
      case registers.SCR:
        this.#scratch = byte;
        break;
    }
    this.#updateLine();
  }

  reset(): void {
    this.#received.length = 0;
    this.#inputWanted = false;
    this.#divisor = 0;
    this.#interruptEnable = 0;
    this.#lineControl = 0;
    this.#modemControl = 0;
    this.#scratch = 0;
    this.#fifoOn = false;
    this.#sendEmptyPending = false;
    this.#updateLine();
  }

  save(): DeviceState {
    const data: UartState = {
      divisor: this.#divisor,
      interruptEnable: this.#interruptEnable,
      lineControl: this.#lineControl,
      modemControl: this.#modemControl,
      scratch: this.#scratch,
      fifoOn: this.#fifoOn,
      sendEmptyPending: this.#sendEmptyPending,
      received: [...this.#received],
    };
    return { name: this.name, version: UART_STATE_VERSION, data };
  }

  restore(state: DeviceState): void {
    const data = stateData<UartState>(state, this.name, UART_STATE_VERSION);
    this.#divisor = data.divisor;
    this.#interruptEnable = data.interruptEnable;
    this.#lineControl = data.lineControl;
    this.#modemControl = data.modemControl;
    this.#scratch = data.scratch;
    this.#fifoOn = data.fifoOn;
    this.#sendEmptyPending = data.sendEmptyPending;
    this.#received.length = 0;
    this.#received.push(...data.received);
    this.#updateLine();
  }

  #send(byte: number): void {
    // The byte is gone at once, so the transmitter is empty anew.
    this.#sendEmptyPending = (this.#interruptEnable & registers.IER_SEND_EMPTY) !== 0;
    if ((this.#modemControl & registers.MCR_LOOP) === 0) this.#host.onOutput(byte);
    else if (this.#received.length < registers.FIFO_BYTES) this.#received.push(byte);
  }

  #receive(): number {
    const byte = this.#received.shift() ?? 0;
    if (this.#inputWanted && this.#received.length === 0) {
      this.#inputWanted = false;
      this.#host.onInputWanted();
    }
    this.#updateLine();
    return byte;
  }

  #enableInterrupts(value: number): void {
    const wasOn = (this.#interruptEnable & registers.IER_SEND_EMPTY) !== 0;
    this.#interruptEnable = value & registers.IER_MASK;
    const isOn = (this.#interruptEnable & registers.IER_SEND_EMPTY) !== 0;
    if (!isOn) this.#sendEmptyPending = false;
    else if (!wasOn) this.#sendEmptyPending = true;
  }

  /** The reason for the interrupt, the most urgent first. Reading "transmitter empty" acknowledges it. */
  #identifyInterrupt(): number {
    const fifo = this.#fifoOn ? registers.IIR_FIFO_ON : 0;
    if (this.#receivedInterrupt()) return fifo | registers.IIR_RECEIVED;
    if (!this.#sendEmptyPending) return fifo | registers.IIR_NONE;
    this.#sendEmptyPending = false;
    this.#updateLine();
    return fifo | registers.IIR_SEND_EMPTY;
  }

  /** In loopback the modem inputs show the modem outputs: that is how the 8250 driver knows a real chip. */
  #modemStatus(): number {
    const control = this.#modemControl;
    if ((control & registers.MCR_LOOP) === 0) return registers.MSR_CONNECTED;
    return ((control & 0x01) << 5) | ((control & 0x02) << 3) | ((control & 0x04) << 4) | ((control & 0x08) << 4);
  }

  #receivedInterrupt(): boolean {
    return this.#received.length > 0 && (this.#interruptEnable & registers.IER_RECEIVED) !== 0;
  }

  #updateLine(): void {
    this.#line.set(this.#receivedInterrupt() || this.#sendEmptyPending);
  }
}
