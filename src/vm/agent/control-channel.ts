/**
 * The control port of a guest: shell code to the agent, one line per answer back. It knows nothing of what is said.
 */
import { ShoalError } from '../../base/errors.ts';
import type { PortChannel } from '../types.ts';
import type { ShellCode } from './shell-code.ts';

/** A line of an agent is short; whatever is longer comes from something else that writes the port. */
const LINE_BYTES_MAX = 4096;

export class ControlChannel {
  private readonly channel: PortChannel;
  private queue: Promise<void> = Promise.resolve();

  constructor(channel: PortChannel) {
    this.channel = channel;
  }

  /** Sends code, after all that was sent before. Rejects when the port is gone. */
  send(code: ShellCode): Promise<void> {
    this.queue = this.queue.then(() => this.channel.write(Buffer.from(`${code}\n`, 'latin1')));
    return this.queue;
  }

  /** Lines without their end; ends when the guest closes the port. */
  async *lines(): AsyncGenerator<string, void> {
    let rest = '';
    for await (const chunk of this.channel.read()) {
      const lines = (rest + Buffer.from(chunk).toString('latin1')).split('\n');
      rest = lines.pop() as string;
      if (rest.length > LINE_BYTES_MAX)
        throw new ShoalError('agent-unavailable', 'The guest sent something on the agent port that is no answer.');
      yield* lines;
    }
  }

  close(): void {
    this.channel.close();
  }
}
