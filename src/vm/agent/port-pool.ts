/**
 * Hands out the data ports of one guest. All that one process needs are taken at once, so two that wait cannot block each
 * other; who waits longest is served first. The lowest free numbers go first: each port ever opened costs the guest memory.
 */
import { ShoalError } from '../../base/errors.ts';
import type { PortChannel, VmHandle } from '../types.ts';

/** Port 0 is the console, port 1 the control port. */
const FIRST_DATA_PORT = 2;
/** Enough for 16 processes with stdin, stdout and stderr each. */
const DATA_PORTS = 48;

/** A guest has opened the ports of a command that it was given by now, if it ever does, ms. */
const INHERITED_MS = 10_000;

export interface Port {
  readonly index: number;
  readonly channel: PortChannel;
}

export class PortPool {
  private readonly vm: VmHandle;
  private readonly free: number[] = Array.from({ length: DATA_PORTS }, (_, position) => FIRST_DATA_PORT + position);
  private readonly taken = new Set<Port>();
  private readonly waiting: { count: number; take: (ports: number[]) => void }[] = [];

  /** `inherited`: ports that are let alone first, and then until the guest has closed them. */
  constructor(vm: VmHandle, inherited: readonly number[] = []) {
    this.vm = vm;
    for (const index of inherited) {
      this.free.splice(this.free.indexOf(index), 1);
      setTimeout(() => this.reclaim(index), INHERITED_MS).unref();
    }
  }

  private reclaim(index: number): void {
    this.vm.openPort(index).then(
      (channel) => {
        channel.close();
        this.giveBack([index]);
      },
      () => {},
    );
  }

  /** Waits for `count` free ports and opens them. Rejects with `aborted` when the signal comes first. */
  async take(count: number, signal?: AbortSignal): Promise<Port[]> {
    const indexes = await this.reserve(count, signal);
    const opened = await Promise.allSettled(indexes.map((index) => this.vm.openPort(index)));
    const failure = opened.find((result) => result.status === 'rejected');
    const ports = opened.flatMap((result, at) =>
      result.status === 'fulfilled' ? [{ index: indexes[at] as number, channel: result.value }] : [],
    );
    if (failure === undefined) {
      for (const port of ports) this.taken.add(port);
      return ports;
    }
    for (const port of ports) port.channel.close();
    this.giveBack(indexes);
    throw failure.reason;
  }

  /** The guest whose commands had them is gone, or nobody's business any more. */
  closeAll(): void {
    for (const port of [...this.taken]) this.release(port);
  }

  /** Only for a port that the guest has closed: a process that still held it would write into the next one's stream. */
  release(port: Port): void {
    if (!this.taken.delete(port)) return;
    port.channel.close();
    this.giveBack([port.index]);
  }

  private reserve(count: number, signal: AbortSignal | undefined): Promise<number[]> {
    return new Promise((resolve, reject) => {
      const refuse = (): void => {
        const at = this.waiting.indexOf(request);
        if (at >= 0) this.waiting.splice(at, 1);
        reject(new ShoalError('aborted', 'The command was aborted before it started.'));
      };
      const take = (indexes: number[]): void => {
        signal?.removeEventListener('abort', refuse);
        resolve(indexes);
      };
      const request = { count, take };
      if (signal?.aborted) return refuse();
      signal?.addEventListener('abort', refuse, { once: true });
      this.waiting.push(request);
      this.serve();
    });
  }

  private giveBack(indexes: readonly number[]): void {
    this.free.push(...indexes);
    this.free.sort((a, b) => a - b);
    this.serve();
  }

  private serve(): void {
    for (let next = this.waiting[0]; next !== undefined && next.count <= this.free.length; next = this.waiting[0]) {
      this.waiting.shift();
      next.take(this.free.splice(0, next.count));
    }
  }
}
