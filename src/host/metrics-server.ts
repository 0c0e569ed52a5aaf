/** `/metrics` over TCP, for a scraper that does not speak Unix sockets. Nothing else is served there, and nothing can be changed. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { ShoalError } from '../base/errors.ts';
import type { HostService } from './service.ts';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export interface MetricsAddress {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

export interface MetricsServer {
  readonly address: MetricsAddress;
  close(): Promise<void>;
}

/** `127.0.0.1:9464`, `[::1]:9464`, or a port alone, which is of the loopback interface. Throws `bad-argument` for anything else. */
export function parseMetricsAddress(text: string): MetricsAddress {
  const match = /^(?:\[([0-9a-f:.]+)\]:|([A-Za-z0-9.-]+):)?(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (!(port <= 65_535))
    throw new ShoalError(
      'bad-argument',
      `“${text}” is not where metrics can be served; give a port or HOST:PORT, such as 127.0.0.1:9464.`,
    );
  return { host: match?.[1] ?? match?.[2] ?? '127.0.0.1', port };
}

/** The inverse. */
export const formatMetricsAddress = ({ host, port }: MetricsAddress): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** Throws `bad-argument` when the address is not to be had. */
export async function serveMetrics(service: HostService, { host, port }: MetricsAddress): Promise<MetricsServer> {
  const server = createServer((request, response) => void answer(service, request, response));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'another program has it' : (error.code ?? error.message);
      reject(new ShoalError('bad-argument', `Metrics cannot be served on ${host}:${port}: ${why}; choose another address.`));
    });
    server.listen(port, host, resolve);
  });
  const { address, port: taken } = server.address() as { address: string; port: number };
  return {
    address: { host: address, port: taken },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(service: HostService, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const reply = (status: number, text: string): void => {
    response.writeHead(status, { 'content-type': METRICS_TYPE, ...(status === 405 ? { allow: 'GET' } : {}) }).end(text);
  };
  if (request.url?.split('?')[0] !== '/metrics') return reply(404, 'There is only /metrics here.\n');
  if (request.method !== 'GET') return reply(405, 'Metrics are read with GET.\n');
  try {
    const { metricsText } = await import('./metrics.ts');
    reply(200, await metricsText(service));
  } catch (error) {
    reply(500, `${(error as Error).message}\n`);
  }
}
