/** Files of a running guest, read and written through its agent. Paths are absolute, or relative to `/`. */
import { Buffer } from 'node:buffer';
import type { FileEntry, FileStat } from './protocol.ts';
import type { HostService } from './service.ts';

/** A file being read: await it for everything, or iterate it for its chunks. */
export class FileRead<T> implements PromiseLike<T>, AsyncIterable<Buffer> {
  readonly #open: () => Promise<AsyncIterable<Uint8Array>>;
  readonly #decode: (bytes: Buffer) => T;

  constructor(open: () => Promise<AsyncIterable<Uint8Array>>, decode: (bytes: Buffer) => T) {
    this.#open = open;
    this.#decode = decode;
  }

  // biome-ignore lint/suspicious/noThenProperty: being awaited is what this class is for.
  then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#collect().then(onFulfilled, onRejected);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for await (const chunk of await this.#open()) yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  }

  async #collect(): Promise<T> {
    const chunks: Buffer[] = [];
    for await (const chunk of this) chunks.push(chunk);
    return this.#decode(Buffer.concat(chunks));
  }
}

export class VmFiles {
  readonly #service: HostService;
  readonly #vm: string;

  constructor(service: HostService, vm: string) {
    this.#service = service;
    this.#vm = vm;
  }

  /** Bytes of a file, or its text with `encoding: 'utf8'`. `not-found` when it cannot be read. */
  read(path: string): FileRead<Buffer>;
  read(path: string, options: { encoding: 'utf8' }): FileRead<string>;
  read(path: string, options?: { encoding: 'utf8' }): FileRead<Buffer | string> {
    return new FileRead<Buffer | string>(
      () => this.#service.readFile(this.#vm, path),
      options === undefined ? (bytes) => bytes : (bytes) => bytes.toString(),
    );
  }

  /** Makes or replaces a file; `mode` are its permission bits. When `data` fails, what came before stays in the guest. */
  async write(
    path: string,
    data: string | Uint8Array | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>,
    options: { mode?: number } = {},
  ): Promise<void> {
    await this.#service.writeFile(this.#vm, path, options.mode, bytesOf(data));
  }

  /** Entries of a directory, without `.` and `..`, in no order. */
  list(path: string): Promise<FileEntry[]> {
    return this.#service.listFiles(this.#vm, path);
  }

  /** What a path is; a symbolic link is not followed. */
  stat(path: string): Promise<FileStat> {
    return this.#service.statFile(this.#vm, path);
  }

  async mkdir(path: string, options: { recursive?: boolean; mode?: number } = {}): Promise<void> {
    const { recursive = false, mode } = options;
    await this.#service.makeDirectory(this.#vm, path, mode === undefined ? { recursive } : { recursive, mode });
  }

  /** A file, an empty directory, or with `recursive` a whole tree. */
  async remove(path: string, options: { recursive?: boolean } = {}): Promise<void> {
    await this.#service.removeFile(this.#vm, path, options.recursive ?? false);
  }
}

async function* bytesOf(
  data: string | Uint8Array | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (typeof data === 'string') yield Buffer.from(data);
  else if (data instanceof Uint8Array) yield data;
  else for await (const chunk of data) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}
