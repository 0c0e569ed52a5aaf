/**
 * Files of a guest, through busybox applets that run in it. Names may hold any bytes but NUL; content is streamed.
 *
 * It is for moving files, not a file system: each call is a process in the guest.
 */
import { randomBytes } from 'node:crypto';
import { ShoalError, type ShoalErrorCode } from '../../base/errors.ts';
import type { StreamOptions } from './client.ts';
import type { AgentProcess } from './process.ts';
import { quote, type ShellCode, type ShellWord, sh } from './shell-code.ts';

export type FileKind = 'file' | 'directory' | 'symlink' | 'other';

export interface FileEntry {
  /** Last part of the path, as UTF-8; bytes that are not UTF-8 show as U+FFFD, and `nameBytes` has the truth. */
  readonly name: string;
  readonly nameBytes: Uint8Array;
  readonly kind: FileKind;
  /** Bytes. */
  readonly size: number;
  /** Permission bits, 0o0000–0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Milliseconds since 1970, whole seconds. */
  readonly modifiedMs: number;
}

export interface WriteOptions {
  /** Permission bits to set; default is what the guest's umask leaves. */
  readonly mode?: number;
  readonly append?: boolean;
}

/** What this module needs of `AgentClient`. */
export interface Executor {
  execCode(code: ShellCode, options?: StreamOptions): Promise<AgentProcess>;
}

/** Type bits of st_mode (Linux, stat.h). */
const TYPE_MASK = 0o170000;
const KINDS: ReadonlyMap<number, FileKind> = new Map([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
]);
/** Parts of the guest's messages in lower case, to our codes; the first that fits. */
const REASONS: readonly (readonly [text: string, code: ShoalErrorCode])[] = [
  ['no such file', 'not-found'],
  ['nonexistent directory', 'not-found'],
  ['no space left', 'no-space'],
  ['file exists', 'name-taken'],
];
const MESSAGE_BYTES_MAX = 4096;
/** Large pieces would sit in the host's memory while the guest takes them. */
const WRITE_PIECE_BYTES = 64 * 1024;

export class AgentFiles {
  private readonly agent: Executor;

  constructor(agent: Executor) {
    this.agent = agent;
  }

  /** The content, in order. Errors: `not-found`, `bad-argument` (a directory, no permission). */
  async *read(path: ShellWord): AsyncGenerator<Uint8Array, void> {
    const process = await this.agent.execCode(sh`exec /lib/shoal/busybox cat <${path}`);
    const message = readMessage(process);
    yield* process.stdout;
    await finish(process, message, `read ${show(path)}`);
  }

  /** Makes or replaces a file. Errors: `not-found` (its directory), `no-space`, `bad-argument`. */
  async write(path: ShellWord, content: Uint8Array | AsyncIterable<Uint8Array>, options: WriteOptions = {}): Promise<void> {
    const into = `${options.append ? '>>' : '>'}${quote(path)}`;
    const mode = options.mode === undefined ? '' : ` && chmod ${(options.mode & 0o7777).toString(8)} ${quote(path)}`;
    const process = await this.agent.execCode(`/lib/shoal/busybox cat ${into}${mode}` as ShellCode, { stdin: true });
    const message = readMessage(process);
    void process.stdout.discard();
    try {
      for await (const piece of pieces(content)) await process.stdin.write(piece);
    } catch (error) {
      // Whoever ended early says why on its error stream; what is wrong with the content is the caller's to know.
      if (!(error instanceof ShoalError && error.code === 'wrong-state')) {
        await process.kill('SIGKILL').catch(() => {});
        throw error;
      }
    }
    process.stdin.end();
    await finish(process, message, `write ${show(path)}`);
  }

  /** What is in a directory, sorted by name; symbolic links are not followed. */
  async list(path: ShellWord): Promise<FileEntry[]> {
    return this.entries(
      path,
      `list ${show(path)}`,
      (format) => sh`cd ${path} && exec find . -mindepth 1 -maxdepth 1 -exec stat -c ${format} {} +`,
    );
  }

  /** One file's facts; a symbolic link's own unless `follow`. */
  async stat(path: ShellWord, options: { readonly follow?: boolean } = {}): Promise<FileEntry> {
    const found = await this.entries(path, `look at ${show(path)}`, (format) =>
      options.follow ? sh`exec stat -L -c ${format} ${safe(path)}` : sh`exec stat -c ${format} ${safe(path)}`,
    );
    return found[0] as FileEntry;
  }

  async mkdir(path: ShellWord, options: { readonly recursive?: boolean; readonly mode?: number } = {}): Promise<void> {
    const flags = `${options.recursive ? ' -p' : ''}${options.mode === undefined ? '' : ` -m ${(options.mode & 0o7777).toString(8)}`}`;
    await this.run(`exec mkdir${flags} ${quote(safe(path))}` as ShellCode, `make the directory ${show(path)}`);
  }

  /** A file, link or empty directory; `recursive` takes a whole tree. */
  async remove(path: ShellWord, options: { readonly recursive?: boolean } = {}): Promise<void> {
    const code = options.recursive
      ? sh`exec rm -r ${safe(path)}`
      : sh`p=${safe(path)}; if [ -d "$p" ] && [ ! -L "$p" ]; then exec rmdir "$p"; else exec rm "$p"; fi`;
    await this.run(code, `remove ${show(path)}`);
  }

  private async entries(path: ShellWord, what: string, code: (format: string) => ShellCode): Promise<FileEntry[]> {
    // A file name may look like a line of this listing, but it cannot know this word.
    const mark = randomBytes(12).toString('hex');
    const listing = await this.run(code(`${mark} %f %s %u %g %Y %n`), what);
    const entries = listing
      .split(`${mark} `)
      .slice(1)
      .map((record) => parseEntry(record));
    if (entries.length === 0 && what.startsWith('look'))
      throw new ShoalError('not-found', `The guest has no file ${show(path)}.`);
    return entries.sort((a, b) => Buffer.compare(a.nameBytes, b.nameBytes));
  }

  /** Runs code to its end and returns what it printed, a character per byte. */
  private async run(code: ShellCode, what: string): Promise<string> {
    const process = await this.agent.execCode(code);
    const message = readMessage(process);
    let output = '';
    for await (const chunk of process.stdout) output += Buffer.from(chunk).toString('latin1');
    await finish(process, message, what);
    return output;
  }
}

/** A path that no applet takes for an option. */
function safe(path: ShellWord): ShellWord {
  if (typeof path === 'string') return path.startsWith('-') ? `./${path}` : path;
  return path[0] === 0x2d ? Buffer.concat([Buffer.from('./'), path]) : path;
}

function parseEntry(record: string): FileEntry {
  const [, mode, size, uid, gid, seconds, path] = /^([0-9a-f]+) (\d+) (\d+) (\d+) (-?\d+) ([\s\S]*)\n$/.exec(record) ?? [];
  if (mode === undefined || path === undefined)
    throw new ShoalError('protocol', 'The guest described a file in a form that is not understood.');
  const nameBytes = Buffer.from(path.replace(/\/+$/, '').replace(/^[\s\S]*\//, '') || '/', 'latin1');
  const bits = Number.parseInt(mode, 16);
  return {
    name: nameBytes.toString('utf8'),
    nameBytes,
    kind: KINDS.get(bits & TYPE_MASK) ?? 'other',
    size: Number(size),
    mode: bits & 0o7777,
    uid: Number(uid),
    gid: Number(gid),
    modifiedMs: Number(seconds) * 1000,
  };
}

async function* pieces(content: Uint8Array | AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  if (!(content instanceof Uint8Array)) {
    yield* content;
    return;
  }
  for (let at = 0; at < content.length; at += WRITE_PIECE_BYTES) yield content.subarray(at, at + WRITE_PIECE_BYTES);
}

async function readMessage(process: AgentProcess): Promise<string> {
  let message = '';
  for await (const chunk of process.stderr) {
    if (message.length < MESSAGE_BYTES_MAX) message += Buffer.from(chunk).toString('utf8');
  }
  return message.trim();
}

async function finish(process: AgentProcess, message: Promise<string>, what: string): Promise<void> {
  const [text, { exitCode }] = await Promise.all([message, process.exit]);
  if (exitCode === 0) return;
  const code = REASONS.find(([part]) => text.toLowerCase().includes(part))?.[1] ?? 'bad-argument';
  throw new ShoalError(code, `The guest could not ${what}: ${text === '' ? `exit code ${exitCode}` : text}.`);
}

const show = (path: ShellWord): string => JSON.stringify(typeof path === 'string' ? path : Buffer.from(path).toString('utf8'));
