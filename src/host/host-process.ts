/** What `shoal host` runs: a pool in this process, served on the socket until it is told to end. */

import { ShoalError } from '../base/errors.ts';
import type { HostOptions } from './host.ts';
import { openLocalService } from './local-host.ts';
import type { LocalService } from './local-service.ts';
import { type MetricsAddress, type MetricsServer, serveMetrics } from './metrics-server.ts';
import { type HostServer, serveHost } from './server.ts';
import { probe, socketPath } from './socket.ts';

export interface HostProcessOptions extends HostOptions {
  socket?: string;
  /** End when the last machine is removed, or when none was made for so many milliseconds. Default: never. */
  endWhenEmptyMs?: number;
  /** Serve `/metrics` over TCP too. */
  metrics?: MetricsAddress | undefined;
}

export class HostProcess {
  readonly socket: string;
  readonly service: LocalService;
  /** Where `/metrics` is served over TCP, if it is. */
  readonly metrics: MetricsAddress | undefined;
  /** Resolves when everything is powered off and the socket is gone. */
  readonly closed: Promise<void>;

  private constructor(service: LocalService, server: HostServer, metrics: MetricsServer | undefined) {
    this.service = service;
    this.socket = server.socket;
    this.metrics = metrics?.address;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    service.onClose(() => {
      // No new clients while machines go down; both must be done before the process may end.
      void Promise.all([server.close(), metrics?.close(), service.close()]).then(() => resolve());
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
    return HostProcess.serve(service, socket, options);
  }

  /** Puts a service that exists on a socket. */
  static async serve(
    service: LocalService,
    socket: string,
    { endWhenEmptyMs, metrics }: Pick<HostProcessOptions, 'endWhenEmptyMs' | 'metrics'> = {},
  ): Promise<HostProcess> {
    let scraped: MetricsServer | undefined;
    try {
      if (metrics !== undefined) scraped = await serveMetrics(service, metrics);
      const process = new HostProcess(service, await serveHost(service, socket), scraped);
      if (endWhenEmptyMs !== undefined) process.#endWhenEmpty(endWhenEmptyMs);
      return process;
    } catch (error) {
      await scraped?.close();
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
