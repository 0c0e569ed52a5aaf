/** The manifest of an image: what its bundle holds and how a guest is started from it. JSON, checked whenever it is read. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { ShoalError } from '../base/errors.ts';

export const MANIFEST_FILE = 'manifest.json';
export const MANIFEST_VERSION = 1;

/** Files an image may hold, in the order of the bundle. The kernel and initramfs are always there. */
export const IMAGE_FILES = ['kernel', 'initramfs', 'disk'] as const;

const fileSchema = z.strictObject({
  path: z.enum(IMAGE_FILES),
  bytes: z.int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

const manifestSchema = z.object({
  version: z.literal(MANIFEST_VERSION),
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/),
  description: z.string().max(200),
  architecture: z.literal('riscv64', { error: 'the image is not for riscv64' }),
  /** As `uname -r` says in the guest. */
  kernelRelease: z.string().max(100),
  commandLine: z.string().max(1000),
  /** RAM promised to a guest unless asked otherwise, bytes. */
  memoryBytes: z.int().positive(),
  /** Of the busybox in the guest, so that a demonstration can compare what the guest computes. */
  busyboxSha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** ISO 8601, UTC. */
  created: z.string().max(40),
  files: z.array(fileSchema).min(2).max(IMAGE_FILES.length),
});

export type ImageManifest = z.infer<typeof manifestSchema>;
export type ImageFile = z.infer<typeof fileSchema>;

/** `source` names the image or bundle in the error. */
export function parseManifest(text: string, source: string): ImageManifest {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    throw new ShoalError('bad-image', `${source} has a damaged manifest: it is not JSON.`);
  }
  const result = manifestSchema.safeParse(data);
  if (!result.success) {
    const issue = result.error.issues[0];
    const where = issue?.path.length ? ` at ${issue.path.join('.')}` : '';
    throw new ShoalError('bad-image', `${source} has a manifest that this version cannot use${where}: ${issue?.message}.`);
  }
  const names = result.data.files.map((file) => file.path);
  if (new Set(names).size !== names.length || !names.includes('kernel') || !names.includes('initramfs')) {
    throw new ShoalError('bad-image', `${source} has a manifest that does not list one kernel and one initramfs.`);
  }
  return result.data;
}

export async function readManifest(file: string, source: string): Promise<ImageManifest> {
  return parseManifest(await readFile(file, 'utf8'), source);
}
