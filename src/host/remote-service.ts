/** A host in another process: the same `HostService`, spoken over its Unix socket. Every answer is parsed by its schema. */
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { ShoalError } from '../base/errors.ts';
import type { MemoryMap, PageExplanation, PoolMemory, VmLimits, VmMemory, VmProfile } from '../vm/types.ts';
import {
  type ExecRequest,
  type FileEntry,
  type FileStat,
  type ForkRequest,
  type ForkResult,
  fileEntrySchema,
  fileStatSchema,
  forkResultSchema,
  type HostEvent,
  type HostInfo,
  type HostOverview,
  hostEventSchema,
  hostInfoSchema,
  type LimitChanges,
  type ManagerChanges,
  type ManagerSettings,
  managerSettingsSchema,
  memoryMapSchema,
  overviewSchema,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  pageExplanationSchema,
  parse,
  poolMemorySchema,
  type RestoreRequest,
  type SnapshotRequest,
  type SnapshotResult,
  snapshotResultSchema,
  type VmInfo,
  type VmSpec,
  vmInfoSchema,
  vmLimitsSchema,
  vmMemorySchema,
  vmProfileSchema,
} from './protocol.ts';
import { openConsole, openExec, readRemoteFile, type StreamRequest, writeRemoteFile } from './remote-streams.ts';
import type { ConsoleAttachment, GuestProcess, HostService, VmAction } from './service.ts';
import { fromWire } from './wire-error.ts';

// An import would evaluate all that the module exports, WebSockets and what they need with it: 33 ms instead of 3.
const { request: httpRequest } = process.getBuiltinModule('node:http');

/** A host answers who it is at once, unless it hangs or is stopped. */
const CONNECT_TIMEOUT_MS = 10_000;

const errorAnswer = z.object({ error: z.unknown() });

export class RemoteService implements HostService {
  readonly #socket: string;
  readonly #open = new Set<AbortController>();
  #closed = false;

  private constructor(socket: string) {
    this.#socket = socket;
  }

  /** Throws `host-unreachable` when nobody is on `socket`, `timeout` when whoever is there says nothing, `protocol` when a host of another version does. */
  static async connect(socket: string): Promise<RemoteService> {
    const service = new RemoteService(socket);
    const info = await service.#greet();
    if (info.protocol !== PROTOCOL_VERSION) {
      throw new ShoalError(
        'protocol',
        `The running host speaks protocol ${info.protocol}; this client speaks ${PROTOCOL_VERSION}.`,
      );
    }
    return service;
  }

  async #greet(): Promise<HostInfo> {
    const late = AbortSignal.timeout(CONNECT_TIMEOUT_MS);
    try {
      return await this.#json('GET', '/host', hostInfoSchema, undefined, late);
    } catch (error) {
      if (!late.aborted) throw error;
      throw new ShoalError(
        'timeout',
        `The host on ${this.#socket} did not answer within ${CONNECT_TIMEOUT_MS / 1000} s; if it hangs, kill it and try again.`,
        { cause: error },
      );
    }
  }

  info(): Promise<HostInfo> {
    return this.#json('GET', '/host', hostInfoSchema);
  }

  memory(): Promise<PoolMemory> {
    return this.#json('GET', '/memory', poolMemorySchema);
  }

  overview(): Promise<HostOverview> {
    return this.#json('GET', '/overview', overviewSchema);
  }

  configure(changes: ManagerChanges): Promise<ManagerSettings> {
    return this.#json('POST', '/host/settings', managerSettingsSchema, changes);
  }

  async *events(signal?: AbortSignal): AsyncIterableIterator<HostEvent> {
    const { outgoing, answer } = this.#request('GET', '/events', {}, signal);
    outgoing.end();
    try {
      const decoder = new TextDecoder();
      let text = '';
      for await (const chunk of await answer) {
        const lines = (text + decoder.decode(chunk as Buffer, { stream: true })).split('\n');
        text = lines.pop() as string;
        for (const line of lines) yield parse(hostEventSchema, JSON.parse(line), 'protocol');
      }
    } catch (error) {
      if (signal?.aborted || this.#closed) return;
      throw this.#lost(error, signal);
    } finally {
      outgoing.destroy();
    }
  }

  list(): Promise<VmInfo[]> {
    return this.#json('GET', '/vms', z.array(vmInfoSchema));
  }

  create(spec: VmSpec): Promise<VmInfo> {
    return this.#json('POST', '/vms', vmInfoSchema, spec);
  }

  inspect(vm: string): Promise<VmInfo> {
    return this.#json('GET', vmPath(vm), vmInfoSchema);
  }

  control(vm: string, action: VmAction): Promise<VmInfo> {
    return this.#json('POST', vmPath(vm, action), vmInfoSchema);
  }

  fork(vm: string, request: ForkRequest): Promise<ForkResult> {
    return this.#json('POST', vmPath(vm, 'fork'), forkResultSchema, request);
  }

  snapshot(vm: string, request: SnapshotRequest, signal?: AbortSignal): Promise<SnapshotResult> {
    return this.#json('POST', vmPath(vm, 'snapshot'), snapshotResultSchema, request, signal);
  }

  restore(request: RestoreRequest, signal?: AbortSignal): Promise<VmInfo> {
    return this.#json('POST', '/restore', vmInfoSchema, request, signal);
  }

  stop(vm: string, timeoutMs: number): Promise<VmInfo> {
    return this.#json('POST', vmPath(vm, 'stop'), vmInfoSchema, { timeoutMs });
  }

  async remove(vm: string): Promise<void> {
    await this.#json('DELETE', vmPath(vm), z.object({}));
  }

  wait(vm: string, signal?: AbortSignal): Promise<VmInfo> {
    return this.#json('GET', vmPath(vm, 'wait'), vmInfoSchema, undefined, signal);
  }

  async ready(vm: string): Promise<void> {
    await this.#json('GET', vmPath(vm, 'ready'), z.object({}));
  }

  vmMemory(vm: string): Promise<VmMemory> {
    return this.#json('GET', vmPath(vm, 'memory'), vmMemorySchema);
  }

  setLimits(vm: string, changes: LimitChanges): Promise<VmLimits> {
    return this.#json('POST', vmPath(vm, 'limits'), vmLimitsSchema, changes);
  }

  memoryMap(vm: string, cells?: number): Promise<MemoryMap> {
    return this.#json('GET', vmPath(vm, `memory/map${cells === undefined ? '' : `?cells=${cells}`}`), memoryMapSchema);
  }

  explainPage(vm: string, address: number): Promise<PageExplanation> {
    return this.#json('GET', vmPath(vm, `memory/page?address=${address}`), pageExplanationSchema);
  }

  profile(vm: string, seconds: number, signal?: AbortSignal): Promise<VmProfile> {
    return this.#json('POST', vmPath(vm, 'profile'), vmProfileSchema, { seconds }, signal);
  }

  async log(vm: string): Promise<Uint8Array> {
    return this.#exchange('GET', vmPath(vm, 'log'));
  }

  exec(vm: string, request: ExecRequest): Promise<GuestProcess> {
    return openExec(this.#stream(vmPath(vm, 'exec')), request);
  }

  attach(vm: string, replayBytes: number): Promise<ConsoleAttachment> {
    return openConsole(this.#stream(vmPath(vm, 'console')), replayBytes);
  }

  readFile(vm: string, path: string): Promise<AsyncIterable<Uint8Array>> {
    return readRemoteFile(this.#stream(vmPath(vm, 'files/read')), path);
  }

  writeFile(vm: string, path: string, mode: number | undefined, data: AsyncIterable<Uint8Array>): Promise<void> {
    return writeRemoteFile(this.#stream(vmPath(vm, 'files/write')), path, mode, data);
  }

  listFiles(vm: string, path: string): Promise<FileEntry[]> {
    return this.#json('POST', vmPath(vm, 'files/list'), z.array(fileEntrySchema), { path });
  }

  statFile(vm: string, path: string): Promise<FileStat> {
    return this.#json('POST', vmPath(vm, 'files/stat'), fileStatSchema, { path });
  }

  async makeDirectory(vm: string, path: string, options: { recursive: boolean; mode?: number | undefined }): Promise<void> {
    await this.#json('POST', vmPath(vm, 'files/mkdir'), z.object({}), { path, ...options });
  }

  async removeFile(vm: string, path: string, recursive: boolean): Promise<void> {
    await this.#json('POST', vmPath(vm, 'files/remove'), z.object({}), { path, recursive });
  }

  /** Lets go of the host: open streams are cut, machines stay. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const controller of this.#open) controller.abort();
  }

  async shutdown(): Promise<void> {
    await this.#json('POST', '/shutdown', z.object({}));
  }

  async #json<T>(method: string, path: string, schema: z.ZodType<T>, body?: unknown, signal?: AbortSignal): Promise<T> {
    const bytes = await this.#exchange(method, path, body, signal);
    return parse(schema, JSON.parse(bytes.toString()), 'protocol');
  }

  async #exchange(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Buffer> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const { outgoing, answer } = this.#request(
      method,
      path,
      text === undefined ? {} : { 'content-type': 'application/json' },
      signal,
    );
    outgoing.end(text);
    const incoming = await answer;
    try {
      return await readAll(incoming);
    } catch (error) {
      throw this.#lost(error, signal);
    }
  }

  #stream(path: string): StreamRequest {
    return this.#request('POST', path, { 'content-type': 'application/octet-stream' });
  }

  /** One request on a connection of its own, so that no stream waits for another. `answer` rejects with a ShoalError. */
  #request(method: string, path: string, headers: Record<string, string>, signal?: AbortSignal): StreamRequest {
    if (this.#closed) throw new ShoalError('host-unreachable', 'This connection to the host was closed.');
    const controller = new AbortController();
    this.#open.add(controller);
    const outgoing = httpRequest({
      socketPath: this.#socket,
      method,
      path,
      headers: { ...headers, host: 'shoal', [PROTOCOL_HEADER]: String(PROTOCOL_VERSION) },
      agent: false,
      signal: signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal]),
    });
    outgoing.on('close', () => this.#open.delete(controller));
    const answer = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.on('response', resolve);
      outgoing.on('error', (error) => reject(this.#lost(error, signal)));
    }).then(checkStatus);
    answer.catch(() => {});
    return { outgoing, answer };
  }

  #lost(cause: unknown, signal: AbortSignal | undefined): ShoalError {
    if (cause instanceof ShoalError) return cause;
    if (signal?.aborted) return new ShoalError('aborted', 'The request was given up.', { cause });
    if (this.#closed) return new ShoalError('host-unreachable', 'This connection to the host was closed.', { cause });
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ECONNREFUSED') {
      return new ShoalError('host-unreachable', `No host is running on ${this.#socket}; start one with \`shoal host\`.`, {
        cause,
      });
    }
    return new ShoalError('host-unreachable', `The connection to the host was lost (${code ?? String(cause)}).`, { cause });
  }
}

function vmPath(vm: string, rest?: string): string {
  return `/vms/${encodeURIComponent(vm)}${rest === undefined ? '' : `/${rest}`}`;
}

async function checkStatus(incoming: IncomingMessage): Promise<IncomingMessage> {
  if (incoming.statusCode === 200) return incoming;
  const text = (await readAll(incoming)).toString();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ShoalError('protocol', `The host answered with status ${incoming.statusCode} and nothing readable.`);
  }
  throw fromWire(errorAnswer.safeParse(value).data?.error);
}

async function readAll(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
