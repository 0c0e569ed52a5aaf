/** What a snapshot says of its machine beside pages and device states: the configuration, the hart, ports, and which images it needs. */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { z } from 'zod';
import { ShoalError } from '../../base/errors.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { fileCheck } from '../../disk/index.ts';
import type { VmConfig } from '../types.ts';
import type { MachineState } from '../vcpu-thread/machine-state.ts';

const MACHINE_VERSION = 1;
/** Pages of an image that its fingerprint covers. */
const SAMPLES = 256;

const integer = z.int().nonnegative();

const savedMachineSchema = z.strictObject({
  version: z.literal(MACHINE_VERSION),
  config: z.strictObject({
    name: z.string(),
    memoryBytes: integer,
    kernel: z.string(),
    initrd: z.string().optional(),
    commandLine: z.string(),
    disks: z.array(z.strictObject({ image: z.string(), writable: z.boolean() })),
    domain: z.string(),
    limits: z.unknown(),
  }),
  /** Files that are not in the snapshot: kernel, initramfs, images below disks. */
  images: z.array(z.strictObject({ path: z.string(), fingerprint: z.string() })),
  /** First page of each disk in the snapshot, and which pages of the disk follow, each as the difference to the one before; null: it is read-only. */
  disks: z.array(z.strictObject({ firstPage: integer, pages: z.instanceof(Uint32Array<ArrayBufferLike>) }).nullable()),
  hart: z.unknown(),
  guestMs: z.number().nonnegative(),
  ports: z.strictObject({ inUse: z.array(integer), agentInput: z.array(z.instanceof(Uint8Array<ArrayBufferLike>)) }),
  about: z.unknown(),
});

export type SavedMachine = z.infer<typeof savedMachineSchema>;

export function savedMachine(
  parts: Pick<SavedMachine, 'images' | 'disks' | 'about'> & { readonly config: VmConfig; readonly state: MachineState },
): SavedMachine {
  const { config, state, ...rest } = parts;
  const { name, memoryBytes, kernel, initrd, commandLine, domain, limits } = config;
  const { hart, guestMs, ports } = state;
  const disks = config.disks.map(({ image, writable }) => ({ image, writable }));
  return {
    version: MACHINE_VERSION,
    config: { name, memoryBytes, kernel, ...(initrd && { initrd }), commandLine, disks, domain, limits },
    hart,
    guestMs,
    ports: { inUse: [...ports.inUse], agentInput: [...ports.agentInput] },
    ...rest,
  };
}

/** @throws ShoalError `bad-snapshot` for what no version of ours has saved */
export function parseSavedMachine(machine: unknown): SavedMachine {
  const version = (machine as { version?: unknown } | null)?.version;
  if (typeof version === 'number' && version !== MACHINE_VERSION)
    throw new ShoalError(
      'bad-snapshot',
      `The snapshot’s machine is of version ${version}; this Shoal restores version ${MACHINE_VERSION}.`,
    );
  const { success, data } = savedMachineSchema.safeParse(machine);
  if (!success)
    throw new ShoalError('bad-snapshot', 'The snapshot does not say which machine it is of, so it cannot be restored.');
  return data;
}

/** By path: the fingerprint of the file that had this check. */
const known = new Map<string, { readonly check: number; readonly fingerprint: string }>();

/**
 * Tells an image from others: its size and pages all over it. Images do not change while they are in use, so a sample does.
 * @throws ShoalError `bad-disk`
 */
export function fingerprintOf(path: string): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    throw new ShoalError('bad-disk', `${path}, which the snapshot’s machine needs, cannot be opened; put it back.`, {
      cause: error,
    });
  }
  try {
    const check = fileCheck(file);
    const before = known.get(path);
    if (before?.check === check) return before.fingerprint;
    const { size } = fstatSync(file);
    const hash = createHash('sha256').update(String(size));
    const pages = Math.ceil(size / PAGE_SIZE);
    const page = Buffer.alloc(PAGE_SIZE);
    for (let i = 0; i < Math.min(SAMPLES, pages); i++) {
      const read = readSync(file, page, 0, PAGE_SIZE, Math.floor((i * pages) / Math.min(SAMPLES, pages)) * PAGE_SIZE);
      hash.update(page.subarray(0, read));
    }
    const fingerprint = hash.digest('hex');
    known.set(path, { check, fingerprint });
    return fingerprint;
  } finally {
    closeSync(file);
  }
}
