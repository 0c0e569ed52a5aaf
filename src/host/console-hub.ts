/**
 * One guest console, many attachments. The hub alone reads port 0 and always keeps reading, so that a guest never stalls on
 * its console; an attachment that does not read loses the oldest bytes, and only its own.
 */
import type { PortChannel, VmHandle } from '../vm/types.ts';
import type { TerminalSize } from './protocol.ts';
import type { ConsoleAttachment } from './service.ts';

/** Bytes kept for an attachment that does not read. */
const BACKLOG_BYTES_MAX = 1024 * 1024;

export class ConsoleHub {
  readonly #vm: VmHandle;
  readonly #attachments = new Set<Backlog>();
  #port: Promise<PortChannel> | undefined;

  constructor(vm: VmHandle) {
    this.#vm = vm;
    void vm.ended.then(() => this.#endAll());
  }

  /** An attachment that begins with the last `replayBytes` of the log. Input typed before the console is ready waits for it. */
  attach(replayBytes: number): ConsoleAttachment {
    const backlog = new Backlog(() => this.#attachments.delete(backlog));
    const log = replayBytes > 0 ? this.#vm.consoleLog() : new Uint8Array(0);
    if (log.length > 0) backlog.push(log.slice(Math.max(0, log.length - replayBytes)));
    this.#attachments.add(backlog);
    this.#port ??= this.#open();
    const port = this.#port;
    return {
      input: {
        write: async (data) => (await port).write(data),
        // The console is everybody's: one client that leaves does not end its input.
        end: () => {},
      },
      output: backlog,
      resize: (size: TerminalSize) => this.#vm.resizeConsole(size.columns, size.rows),
      close: () => backlog.end(),
    };
  }

  /** Ends all attachments and gives the port back. */
  close(): void {
    this.#endAll();
    this.#port?.then(
      (port) => port.close(),
      () => {},
    );
    this.#port = undefined;
  }

  async #open(): Promise<PortChannel> {
    const port = await this.#vm.openPort(0);
    void this.#pump(port);
    return port;
  }

  async #pump(port: PortChannel): Promise<void> {
    try {
      for await (const chunk of port.read()) {
        for (const backlog of this.#attachments) backlog.push(chunk);
      }
    } catch {
      // The machine went away; `ended` says so.
    }
    // The guest closed the port: the next attachment opens it anew.
    port.close();
    this.#port = undefined;
    this.#endAll();
  }

  #endAll(): void {
    for (const backlog of this.#attachments) backlog.end();
  }
}

class Backlog implements AsyncIterable<Uint8Array> {
  readonly #leave: () => void;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes > BACKLOG_BYTES_MAX && this.#chunks.length > 1) this.#bytes -= this.#chunks.shift()?.length ?? 0;
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#leave();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) {
          this.#bytes -= chunk.length;
          yield chunk;
        } else if (this.#ended) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.#leave();
    }
  }
}
