/** What the machine does with a guest's bytes at best: a copy of them in memory, and a file of them. */
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median } from '../statistics.ts';

const ROUNDS = 5;

export interface Ceilings {
  readonly bytes: number;
  readonly copyMs: number;
  /** Written and synced. */
  readonly fileMs: number;
}

export function ceilings(bytes: number): Ceilings {
  const from = Buffer.alloc(bytes, 'a page that a guest wrote');
  const copies: number[] = [];
  const files: number[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'shoal-state-'));
  try {
    for (let round = 0; round < ROUNDS; round++) {
      // As a fork by copying would: into memory that nobody has touched yet.
      copies.push(timed(() => new Uint8Array(new SharedArrayBuffer(bytes)).set(from)));
      files.push(timed(() => writeFile(join(folder, `${round}`), from)));
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return { bytes, copyMs: median(copies), fileMs: median(files) };
}

function timed(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

function writeFile(path: string, bytes: Buffer): void {
  const file = openSync(path, 'w');
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
  fsyncSync(file);
  closeSync(file);
}
