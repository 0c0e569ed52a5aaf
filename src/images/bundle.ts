/**
 * An image as one file: a zstd-compressed tar of `manifest.json` and the files it lists, in its order. Every byte is
 * hashed on its way in and out, and nothing of a bundle is believed before it was checked.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { createTarDecoder, createTarPacker } from 'modern-tar';
import { ShoalError } from '../base/errors.ts';
import { type ImageFile, type ImageManifest, MANIFEST_FILE, parseManifest } from './manifest.ts';
import { fractionReporter, type ImageOptions } from './progress.ts';
import { writeSparseFile } from './sparse-file.ts';

const MANIFEST_BYTES_MAX = 64 * 1024;
/** Best size for the time: a kernel packs to a third in a second. */
const COMPRESSION_LEVEL = 6;
const PIECE_BYTES = 1024 * 1024;

/** Writes `target` whole or not at all. `folder` holds the manifest's files. */
export async function packBundle(folder: string, manifest: ImageManifest, target: string, options: ImageOptions): Promise<void> {
  const total = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const report = fractionReporter(options, 'pack', `Packing the image ${manifest.name}`, total);
  const { readable, controller } = createTarPacker();
  const fill = async (): Promise<void> => {
    const text = Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`);
    await writeEntry(controller.add({ name: MANIFEST_FILE, size: text.length, type: 'file' }), [text]);
    for (const file of manifest.files) {
      const content = createReadStream(join(folder, file.path), { highWaterMark: PIECE_BYTES });
      await writeEntry(
        controller.add({ name: file.path, size: file.bytes, type: 'file' }),
        checked(content, file, manifest.name, report),
      );
    }
    controller.finalize();
  };
  const partial = `${target}.partial`;
  const compress = createZstdCompress({
    params: { [constants.ZSTD_c_compressionLevel]: COMPRESSION_LEVEL, [constants.ZSTD_c_checksumFlag]: 1 },
  });
  try {
    const filled = fill().catch((error: unknown) => {
      controller.error(error);
      throw error;
    });
    const written = pipeline(Readable.fromWeb(readable), compress, createWriteStream(partial), { signal: options.signal });
    const [first] = (await Promise.allSettled([filled, written])).filter((result) => result.status === 'rejected');
    if (first !== undefined) throw first.reason;
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/** Unpacks a bundle into an empty folder and returns its manifest. Throws `bad-image` when it is cut off, changed or not a bundle. */
export async function unpackBundle(source: string, folder: string, options: ImageOptions): Promise<ImageManifest> {
  await checkMagic(source);
  const packed = createReadStream(source, { highWaterMark: PIECE_BYTES });
  const unpacked = createZstdDecompress();
  const flow = pipeline(packed, unpacked, { signal: options.signal });
  flow.catch(() => {});
  try {
    const manifest = await unpackEntries(unpacked, folder, source, options);
    await flow;
    return manifest;
  } catch (error) {
    packed.destroy();
    unpacked.destroy();
    throw await bundleError(error, flow, source);
  }
}

async function unpackEntries(tar: Readable, folder: string, source: string, options: ImageOptions): Promise<ImageManifest> {
  let manifest: ImageManifest | undefined;
  let report: (bytes: number) => void = () => {};
  const missing = new Map<string, ImageFile>();
  const entries = Readable.toWeb(tar).pipeThrough(createTarDecoder({ strict: true }));
  for await (const { header, body } of entries) {
    if (manifest === undefined) {
      if (header.name !== MANIFEST_FILE || header.size > MANIFEST_BYTES_MAX) throw notABundle(source);
      manifest = parseManifest(await new Response(body).text(), source);
      for (const file of manifest.files) missing.set(file.path, file);
      const total = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
      report = fractionReporter(options, 'unpack', `Unpacking the image ${manifest.name}`, total);
      continue;
    }
    const file = missing.get(header.name);
    if (file === undefined || header.type !== 'file' || header.size !== file.bytes) {
      throw new ShoalError('bad-image', `${source} holds a file that its manifest does not list so: ${header.name}.`);
    }
    missing.delete(header.name);
    const hash = createHash('sha256');
    const bytes = await writeSparseFile(join(folder, file.path), body, { hash, onBytes: report });
    if (bytes !== file.bytes || hash.digest('hex') !== file.sha256) throw wrongHash(source, file.path);
  }
  if (manifest === undefined || missing.size > 0) throw truncated(source);
  await writeFile(join(folder, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`);
  return manifest;
}

/** Passes a file's bytes on, and fails at its end when they are not what the manifest says. */
async function* checked(
  content: AsyncIterable<Uint8Array>,
  file: ImageFile,
  image: string,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const piece of content) {
    hash.update(piece);
    onBytes(piece.length);
    yield piece;
  }
  if (hash.digest('hex') !== file.sha256) throw wrongHash(`The image ${image}`, file.path);
}

async function writeEntry(
  stream: WritableStream<Uint8Array>,
  content: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const writer = stream.getWriter();
  for await (const piece of content) {
    await writer.ready;
    await writer.write(piece);
  }
  await writer.close();
}

async function checkMagic(source: string): Promise<void> {
  const file = await open(source).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' ? new ShoalError('not-found', `There is no file ${source}.`) : error;
  });
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
    // Zstandard frame magic number (RFC 8878, 3.1.1).
    if (bytesRead < 4 || buffer.readUInt32LE() !== 0xfd2fb528) throw notABundle(source);
  } finally {
    await file.close();
  }
}

async function bundleError(error: unknown, flow: Promise<void>, source: string): Promise<unknown> {
  const reason = await flow.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  if (error instanceof ShoalError && error.code !== 'bad-image') return error;
  const abort = [error, reason].find((failure) => failure instanceof Error && failure.name === 'AbortError');
  if (abort !== undefined) return abort;
  if (error instanceof ShoalError) return error;
  if (error instanceof Error && 'syscall' in error) return error;
  return new ShoalError('bad-image', `${source} is cut off or damaged; copy it again.`, { cause: error });
}

const notABundle = (source: string): ShoalError => new ShoalError('bad-image', `${source} is not an image bundle of Shoal.`);
const truncated = (source: string): ShoalError => new ShoalError('bad-image', `${source} is cut off; copy it again.`);
const wrongHash = (source: string, path: string): ShoalError =>
  new ShoalError(
    'bad-image',
    `${source}: the SHA-256 of ${path} is not the one in its manifest; the file was changed or damaged.`,
  );
