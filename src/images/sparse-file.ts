/** Writes a stream to a file, leaving blocks of zeros unwritten: a disk image of mostly nothing takes no room for it. */
import type { Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';

const BLOCK_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

export interface StreamSink {
  /** Called with the bytes of each piece as they pass. */
  readonly onBytes?: (bytes: number) => void;
  readonly hash: Hash;
}

/** Returns the length of the file in bytes. */
export async function writeSparseFile(path: string, source: AsyncIterable<Uint8Array>, sink: StreamSink): Promise<number> {
  const file = await open(path, 'wx');
  try {
    let length = 0;
    for await (const piece of source) {
      sink.hash.update(piece);
      sink.onBytes?.(piece.length);
      for (let at = 0; at < piece.length; at += BLOCK_BYTES) {
        const block = piece.subarray(at, at + BLOCK_BYTES);
        if (ZEROS.compare(block, 0, block.length, 0, block.length) !== 0) await writeFully(file, block, length + at);
      }
      length += piece.length;
    }
    await file.truncate(length);
    await file.sync();
    return length;
  } finally {
    await file.close();
  }
}

/** A write may stop short when the disk fills; the next one then says so. */
async function writeFully(file: FileHandle, block: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < block.length; ) {
    done += (await file.write(block, done, block.length - done, position + done)).bytesWritten;
  }
}
