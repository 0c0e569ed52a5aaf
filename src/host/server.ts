/**
 * The host process's border: HTTP on a Unix socket before a `LocalService`. Every request is parsed by its schema, every
 * failure answered as a wire error. A client that dies takes its own streams with it, never a machine.
 */
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { type Context, Hono } from 'hono';
import { ShoalError } from '../base/errors.ts';
import { FrameConnection } from './frames.ts';
import type { LocalService } from './local-service.ts';
import { METRICS_TYPE } from './metrics-server.ts';
import {
  fileListSchema,
  fileMakeSchema,
  fileRemoveSchema,
  forkRequestSchema,
  limitChangesSchema,
  managerChangesSchema,
  mapQuerySchema,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  pageQuerySchema,
  parse,
  profileRequestSchema,
  restoreRequestSchema,
  snapshotRequestSchema,
  stopSchema,
  vmSpecSchema,
} from './protocol.ts';
import { serveConsole, serveExec, serveFileRead, serveFileWrite } from './server-streams.ts';
import type { VmAction } from './service.ts';
import { takeSocket } from './socket.ts';
import { httpStatus, toWire } from './wire-error.ts';

type Env = { Bindings: HttpBindings };
type StreamServer = (service: LocalService, vm: string, connection: FrameConnection) => Promise<void>;

export interface HostServer {
  readonly socket: string;
  /** Takes no more requests, removes the socket, and cuts what is still open. */
  close(): Promise<void>;
}

/** Serves `service` on `socket`. Throws `host-running` when another host has it. */
export async function serveHost(service: LocalService, socket: string): Promise<HostServer> {
  const app = hostApp(service);
  const server = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
  // An exec or a file copy may take hours; what bounds them is credit and the socket, not a clock.
  server.requestTimeout = 0;
  server.timeout = 0;
  await takeSocket(socket, () => listen(server, socket));
  return { socket, close: () => closeServer(server) };
}

function hostApp(service: LocalService): Hono<Env> {
  const app = new Hono<Env>();
  app.onError((error, c) => answerError(c, error));
  app.notFound((c) => answerError(c, new ShoalError('protocol', `This host does not know ${c.req.method} ${c.req.path}.`)));
  // Before the check: who scrapes it speaks no protocol of ours.
  app.get('/metrics', async (c) => {
    const { metricsText } = await import('./metrics.ts');
    return c.body(await metricsText(service), 200, { 'content-type': METRICS_TYPE });
  });
  app.use(async (c, next) => {
    checkVersion(c.req.header(PROTOCOL_HEADER));
    await next();
  });
  addHostRoutes(app, service);
  addVmRoutes(app, service);
  addFileRoutes(app, service);
  const streams: Readonly<Record<string, StreamServer>> = {
    exec: serveExec,
    console: serveConsole,
    'files/read': serveFileRead,
    'files/write': serveFileWrite,
  };
  for (const [name, serve] of Object.entries(streams)) {
    app.post(`/vms/:vm/${name}`, (c) => {
      openStream(c.env.incoming as IncomingMessage, c.env.outgoing as ServerResponse, (connection) =>
        serve(service, c.req.param('vm') as string, connection),
      );
      return RESPONSE_ALREADY_SENT;
    });
  }
  return app;
}

function addHostRoutes(app: Hono<Env>, service: LocalService): void {
  app.get('/host', async (c) => c.json(await service.info()));
  app.post('/host/settings', async (c) => c.json(await service.configure(await body(c, managerChangesSchema))));
  app.get('/memory', async (c) => c.json(await service.memory()));
  app.get('/overview', async (c) => c.json(await service.overview()));
  app.get('/events', (c) => {
    void streamEvents(service, c.env.outgoing as ServerResponse);
    return RESPONSE_ALREADY_SENT;
  });
  app.post('/shutdown', (c) => {
    // Answer first: closing cuts this connection.
    setImmediate(() => void service.shutdown());
    return c.json({});
  });
  app.get('/vms', async (c) => c.json(await service.list()));
  app.post('/vms', async (c) => c.json(await service.create(await body(c, vmSpecSchema))));
  app.post('/restore', async (c) => c.json(await service.restore(await body(c, restoreRequestSchema), c.req.raw.signal)));
}

function addVmRoutes(app: Hono<Env>, service: LocalService): void {
  app.get('/vms/:vm', async (c) => c.json(await service.inspect(c.req.param('vm'))));
  app.delete('/vms/:vm', async (c) => {
    await service.remove(c.req.param('vm'));
    return c.json({});
  });
  for (const action of ['start', 'pause', 'resume', 'reset', 'kill'] satisfies VmAction[]) {
    app.post(`/vms/:vm/${action}`, async (c) => c.json(await service.control(c.req.param('vm'), action)));
  }
  app.post('/vms/:vm/fork', async (c) => c.json(await service.fork(c.req.param('vm'), await body(c, forkRequestSchema))));
  app.post('/vms/:vm/snapshot', async (c) =>
    c.json(await service.snapshot(c.req.param('vm'), await body(c, snapshotRequestSchema), c.req.raw.signal)),
  );
  app.post('/vms/:vm/stop', async (c) => c.json(await service.stop(c.req.param('vm'), (await body(c, stopSchema)).timeoutMs)));
  app.get('/vms/:vm/wait', async (c) => c.json(await service.wait(c.req.param('vm'), c.req.raw.signal)));
  app.get('/vms/:vm/ready', async (c) => {
    await service.ready(c.req.param('vm'));
    return c.json({});
  });
  app.get('/vms/:vm/memory', async (c) => c.json(await service.vmMemory(c.req.param('vm'))));
  app.post('/vms/:vm/limits', async (c) => c.json(await service.setLimits(c.req.param('vm'), await body(c, limitChangesSchema))));
  app.get('/vms/:vm/memory/map', async (c) => {
    const { cells } = parse(mapQuerySchema, c.req.query());
    return c.json(await service.memoryMap(c.req.param('vm'), cells));
  });
  app.get('/vms/:vm/memory/page', async (c) => {
    const { address } = parse(pageQuerySchema, c.req.query());
    return c.json(await service.explainPage(c.req.param('vm'), address));
  });
  app.post('/vms/:vm/profile', async (c) => {
    const { seconds } = await body(c, profileRequestSchema);
    return c.json(await service.profile(c.req.param('vm'), seconds, c.req.raw.signal));
  });
  app.get('/vms/:vm/log', async (c) => c.body(new Uint8Array(await service.log(c.req.param('vm')))));
}

function addFileRoutes(app: Hono<Env>, service: LocalService): void {
  app.post('/vms/:vm/files/list', async (c) => {
    const { path } = await body(c, fileListSchema);
    return c.json(await service.listFiles(c.req.param('vm'), path));
  });
  app.post('/vms/:vm/files/stat', async (c) => {
    const { path } = await body(c, fileListSchema);
    return c.json(await service.statFile(c.req.param('vm'), path));
  });
  app.post('/vms/:vm/files/mkdir', async (c) => {
    const { path, recursive, mode } = await body(c, fileMakeSchema);
    await service.makeDirectory(c.req.param('vm'), path, { recursive, mode });
    return c.json({});
  });
  app.post('/vms/:vm/files/remove', async (c) => {
    const { path, recursive } = await body(c, fileRemoveSchema);
    await service.removeFile(c.req.param('vm'), path, recursive);
    return c.json({});
  });
}

/** One event a line, until the client or the host goes. A client that does not read gets what `events` keeps for it. */
async function streamEvents(service: LocalService, outgoing: ServerResponse): Promise<void> {
  const gone = new AbortController();
  outgoing.on('close', () => gone.abort());
  outgoing.writeHead(200, { 'content-type': 'application/x-ndjson' });
  outgoing.flushHeaders();
  for await (const event of service.events(gone.signal)) {
    if (outgoing.write(`${JSON.stringify(event)}\n`)) continue;
    await once(outgoing, 'drain', { signal: gone.signal }).catch(() => {});
  }
  outgoing.end();
}

function openStream(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  serve: (connection: FrameConnection) => Promise<void>,
): void {
  outgoing.writeHead(200, { 'content-type': 'application/octet-stream' });
  outgoing.flushHeaders();
  const connection = new FrameConnection(incoming, outgoing);
  void serve(connection).finally(() => connection.end());
}

async function body<T>(c: Context<Env>, schema: Parameters<typeof parse<T>>[0]): Promise<T> {
  let value: unknown;
  try {
    value = await c.req.json();
  } catch {
    throw new ShoalError('protocol', 'The request is not JSON.');
  }
  return parse(schema, value);
}

function checkVersion(theirs: string | undefined): void {
  if (theirs === String(PROTOCOL_VERSION)) return;
  throw new ShoalError(
    'protocol',
    `The running host speaks protocol ${PROTOCOL_VERSION} and this client ${theirs ?? 'none'}; end the host with the version that started it, or use that version.`,
  );
}

function answerError(c: Context<Env>, error: unknown): Response {
  const wire = toWire(error);
  return c.json({ error: wire }, httpStatus(wire) as 500);
}

function listen(server: Server, socket: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(socket, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    // Answers that are being written get a moment; streams of clients that never end do not hold the host up.
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), 200).unref();
  });
}
