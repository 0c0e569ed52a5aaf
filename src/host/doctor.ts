/** What `shoal doctor` looks at: whether this machine can run guests, give memory back, and build images. */
import { accessSync, constants, existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { availableParallelism, homedir, totalmem } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { nodePlatform } from '../platform/node/index.ts';
import { listImages } from './images.ts';
import { RemoteService } from './remote-service.ts';
import { formatSize } from './size.ts';
import { socketPath } from './socket.ts';

export interface Check {
  readonly name: string;
  /** `warning`: something is missing that only some work needs. */
  readonly state: 'ok' | 'warning' | 'failed';
  readonly detail: string;
}

const NODE_MAJOR_MIN = 26;
/** A build of the larger image with its downloads. */
const BUILD_BYTES = 2 * 2 ** 30;

export async function examineMachine(): Promise<Check[]> {
  return Promise.all([
    checkNode(),
    checkMachineMemory(),
    checkMemoryReturn(),
    checkProgram('apt', 'apt-get', 'images cannot be built here; `shoal images import` takes one from a file'),
    checkProgram('mke2fs', 'mke2fs', 'the debian image needs it (package e2fsprogs) or fetches it by apt'),
    checkDisk(),
    checkSocket(),
    checkImages(),
  ]);
}

async function checkNode(): Promise<Check> {
  const { node } = process.versions;
  const enough = Number.parseInt(node, 10) >= NODE_MAJOR_MIN;
  const detail = `Node ${node} on ${process.platform} ${process.arch}${enough ? '' : `; ${NODE_MAJOR_MIN} or newer is needed`}`;
  return { name: 'node', state: enough ? 'ok' : 'failed', detail };
}

async function checkMachineMemory(): Promise<Check> {
  const total = totalmem();
  const detail = `${formatSize(total)} of memory, ${availableParallelism()} cores`;
  return { name: 'machine', state: total >= 2 ** 30 ? 'ok' : 'warning', detail };
}

/** Touches 8 MiB, gives them back, and reads them: zeros say that the system took them. */
async function checkMemoryReturn(): Promise<Check> {
  const bytes = 8 * 2 ** 20;
  const memory = new WebAssembly.Memory({ initial: bytes / 65_536, maximum: bytes / 65_536, shared: true });
  const view = new Uint8Array(memory.buffer);
  view.fill(1);
  nodePlatform.returnMemory(memory, 0, bytes);
  const returned = view.every((byte) => byte === 0);
  return returned
    ? { name: 'memory return', state: 'ok', detail: 'freed guest memory goes back to the system' }
    : {
        name: 'memory return',
        state: 'warning',
        detail: 'freed guest memory stays with the process until it ends (no madvise here)',
      };
}

async function checkProgram(name: string, program: string, without: string): Promise<Check> {
  const path = (process.env.PATH ?? '')
    .split(delimiter)
    .concat('/usr/sbin', '/sbin')
    .map((directory) => join(directory, program))
    .find(isExecutable);
  return path === undefined ? { name, state: 'warning', detail: `not found: ${without}` } : { name, state: 'ok', detail: path };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function checkDisk(): Promise<Check> {
  let directory = process.env.SHOAL_CACHE ?? process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  while (!existsSync(directory)) directory = dirname(directory);
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  const detail = `${formatSize(free)} free in ${directory}`;
  return free >= BUILD_BYTES
    ? { name: 'disk', state: 'ok', detail }
    : { name: 'disk', state: 'warning', detail: `${detail}; building images wants ${formatSize(BUILD_BYTES)}` };
}

async function checkSocket(): Promise<Check> {
  try {
    const socket = socketPath();
    const info = await (await RemoteService.connect(socket)).info().catch(() => undefined);
    return {
      name: 'host',
      state: 'ok',
      detail:
        info === undefined ? `ended just now` : `running on ${socket} (pid ${info.pid}, pool of ${formatSize(info.poolBytes)})`,
    };
  } catch (error) {
    const unreachable = (error as { code?: string }).code === 'host-unreachable';
    return {
      name: 'host',
      state: unreachable ? 'ok' : 'failed',
      detail: unreachable ? 'none is running; run starts one' : (error as Error).message,
    };
  }
}

async function checkImages(): Promise<Check> {
  const names = (await listImages()).map((image) => image.name);
  return names.length > 0
    ? { name: 'images', state: 'ok', detail: names.join(', ') }
    : { name: 'images', state: 'warning', detail: 'none yet; the first run builds one' };
}
