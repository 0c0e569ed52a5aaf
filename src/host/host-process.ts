/** What `shoal host` runs: a pool in this process, served on the socket until it is told to end. */

import { ShoalError } from '../base/errors.ts';
import { type HostOptions, openLocalService } from './host.ts';
import type { LocalService } from './local-service.ts';
import { type HostServer, serveHost } from './server.ts';
import { probe, socketPath } from './socket.ts';

export interface HostProcessOptions extends HostOptions {
  socket?: string;
  /** End when the last machine is removed, or when none was made for so many milliseconds. Default: never. */
  endWhenEmptyMs?: number;
}

export class HostProcess {
  readonly socket: string;
  readonly service: LocalService;
  /** Resolves when everything is powered off and the socket is gone. */
  readonly closed: Promise<void>;

  private constructor(service: LocalService, server: HostServer) {
    this.service = service;
    this.socket = server.socket;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    service.onClose(() => {
      // No new clients while machines go down; both must be done before the process may end.
      void Promise.all([server.close(), service.close()]).then(() => resolve());
    });
  }

  /** Throws `host-running` when a host has the socket, before a pool is made. */
  static async start(options: HostProcessOptions): Promise<HostProcess> {
    const socket = socketPath(options.socket);
    if ((await probe(socket)) === 'alive') {
      throw new ShoalError(
        'host-running',
        `A host is running on ${socket} already; use it, or end it with \`shoal host --stop\`.`,
      );
    }
    const service = await openLocalService(options);
    return HostProcess.serve(service, socket, options.endWhenEmptyMs);
  }

  /** Puts a service that exists on a socket. */
  static async serve(service: LocalService, socket: string, endWhenEmptyMs?: number): Promise<HostProcess> {
    try {
      const process = new HostProcess(service, await serveHost(service, socket));
      if (endWhenEmptyMs !== undefined) process.#endWhenEmpty(endWhenEmptyMs);
      return process;
    } catch (error) {
      await service.close();
      throw error;
    }
  }

  /** Powers everything off and removes the socket. Idempotent. */
  async close(): Promise<void> {
    await this.service.close();
    await this.closed;
  }

  #endWhenEmpty(idleMs: number): void {
    const endIfEmpty = (): void => {
      if (this.service.count === 0) void this.close();
    };
    setTimeout(endIfEmpty, idleMs).unref();
    // The answer to whoever removed the last one goes out first.
    this.service.onEmpty(() => void setTimeout(endIfEmpty, 50));
  }
}
