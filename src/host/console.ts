/** The console of a guest: its log, and attachments to it. */
import { Buffer } from 'node:buffer';
import type { ConsoleAttachment, HostService } from './service.ts';

/** One attachment: what the guest prints from now on, and a keyboard. Others may be attached too. */
export class ConsoleSession implements Disposable {
  readonly #attachment: ConsoleAttachment;

  constructor(attachment: ConsoleAttachment) {
    this.#attachment = attachment;
  }

  /** Ends when the machine stops, or after `close`. A reader that falls 1 MiB behind loses the oldest bytes. */
  get output(): AsyncIterable<Uint8Array> {
    return this.#attachment.output;
  }

  async write(data: string | Uint8Array): Promise<void> {
    await this.#attachment.input.write(typeof data === 'string' ? Buffer.from(data) : data);
  }

  resize(columns: number, rows: number): void {
    this.#attachment.resize({ columns, rows });
  }

  /** Detaches; the machine goes on. */
  close(): void {
    this.#attachment.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export class VmConsole {
  readonly #service: HostService;
  readonly #vm: string;

  constructor(service: HostService, vm: string) {
    this.#service = service;
    this.#vm = vm;
  }

  /** Everything the guest printed, newest 256 KiB. */
  async log(): Promise<Buffer> {
    const bytes = await this.#service.log(this.#vm);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Attaches to the console. `replayBytes` of the log come first; default none. */
  async attach(options: { replayBytes?: number } = {}): Promise<ConsoleSession> {
    return new ConsoleSession(await this.#service.attach(this.#vm, options.replayBytes ?? 0));
  }
}
