/** QEMU's monitor (QMP): a line of JSON each way, on a socket. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 5;
const TIMEOUT_MS = 60_000;

export const monitorArguments = (socket: string): string[] => ['-qmp', `unix:${socket},server=on,wait=off`];

export class QemuMonitor {
  readonly #socket: Socket;
  readonly #answers: AsyncIterator<string>;
  readonly #lines: Interface;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = createInterface({ input: socket });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  static async connect(path: string): Promise<QemuMonitor> {
    for (const end = performance.now() + TIMEOUT_MS; !existsSync(path); await sleep(POLL_MS))
      if (performance.now() > end) throw new Error('QEMU has opened no monitor');
    const socket = connect(path);
    await once(socket, 'connect');
    const monitor = new QemuMonitor(socket);
    await monitor.ask('qmp_capabilities');
    return monitor;
  }

  /** What a command returns. */
  async ask(command: string, parameters: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: parameters })}\n`);
    for (;;) {
      const { value, done } = await this.#answers.next();
      if (done) throw new Error(`QEMU ended during “${command}”`);
      const answer = JSON.parse(value) as { return?: Record<string, unknown>; error?: { desc: string } };
      if (answer.error) throw new Error(`QEMU refused “${command}”: ${answer.error.desc}`);
      // Anything else is a greeting or an event.
      if (answer.return) return answer.return;
    }
  }

  close(): void {
    this.#lines.close();
    this.#socket.destroy();
  }
}
