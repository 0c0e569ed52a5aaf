/**
 * What crosses the socket, as schemas: both sides parse what they receive, and the types below are read off the schemas.
 *
 * Requests are JSON over HTTP on a Unix socket; exec, console and files are full-duplex bodies of frames (frames.ts).
 * Every request carries the protocol version in a header and is refused when it differs.
 */
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { ShoalError } from '../base/errors.ts';
import { PROFILE_CALLS, PROFILE_EXITS } from '../cpu/hart/profile-counts.ts';
import { SETTINGS_RANGES } from '../memory-worker/settings.ts';
import { SHARES_MAX } from '../vm/limits.ts';

export const PROTOCOL_VERSION = 2;
export const PROTOCOL_HEADER = 'shoal-protocol';

const path = z.string().min(1).refine(isAbsolute, 'must be an absolute path');
const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'must be letters, digits, “-”, “_” and “.”, at most 63');
const bytes = z.number().int().nonnegative();
const guestPath = z
  .string()
  .min(1)
  .refine((text) => !text.includes('\0'), 'must not contain a NUL');

/** What a machine may keep when memory is short; what is left out stays, or is what a new machine has. 0 bytes: no limit. */
export const limitChangesSchema = z.strictObject({
  minimumBytes: bytes.optional(),
  maximumBytes: bytes.optional(),
  shares: z.number().int().min(1).max(SHARES_MAX).optional(),
});
export type LimitChanges = z.infer<typeof limitChangesSchema>;

const limits = { minimumBytes: bytes, maximumBytes: bytes, shares: z.number().int().positive() };
export const vmLimitsSchema = z.object(limits);

/** A machine to make. Paths are the host's. */
export const vmSpecSchema = z.strictObject({
  name: name.optional(),
  /** Name of the image that the paths come from; only a label. */
  image: z.string().optional(),
  memoryBytes: bytes.positive(),
  kernel: path,
  initrd: path.optional(),
  commandLine: z.string().max(2000),
  disks: z.array(z.strictObject({ image: path, writable: z.boolean() })).max(6),
  domain: name,
  limits: limitChangesSchema.optional(),
  /** It may start from a snapshot of a machine like it that has booted, and may become that. */
  template: z.boolean().optional(),
});
export type VmSpec = z.infer<typeof vmSpecSchema>;

const FORKS_MAX = 1024;

/** Forks of a machine. Names that are left out are made up. */
export const forkRequestSchema = z.strictObject({
  count: z.number().int().min(1).max(FORKS_MAX),
  names: z.array(name).max(FORKS_MAX).optional(),
  /** False: they begin paused. */
  start: z.boolean(),
});
export type ForkRequest = z.infer<typeof forkRequestSchema>;

/** A snapshot of a machine. The name is for people, and by default the machine's. */
export const snapshotRequestSchema = z.strictObject({ folder: path, name: z.string().min(1).max(200).optional() });
export type SnapshotRequest = z.infer<typeof snapshotRequestSchema>;

/** `pausedMs`: how long the machine stood still. */
export const snapshotResultSchema = z.object({
  id: z.string(),
  name: z.string(),
  storedPages: bytes,
  addedBytes: bytes,
  pausedMs: z.number().nonnegative(),
});
export type SnapshotResult = z.infer<typeof snapshotResultSchema>;

/** A machine of a snapshot, which is named by its id, the first digits of it, or its name. */
export const restoreRequestSchema = z.strictObject({
  folder: path,
  snapshot: z.string().min(1).max(200),
  name: name.optional(),
  start: z.boolean(),
  /** All pages are read before it runs. */
  eager: z.boolean().optional(),
});
export type RestoreRequest = z.infer<typeof restoreRequestSchema>;

export const vmInfoSchema = z.object({
  id: z.string(),
  name: z.string(),
  image: z.string().nullable(),
  state: z.enum(['created', 'running', 'paused', 'waiting', 'stopped', 'failed']),
  /** Why it stopped or failed, when that is known. */
  reason: z.string().nullable(),
  memoryBytes: bytes,
  domain: z.string(),
  /** Milliseconds since 1970. */
  createdAtMs: z.number(),
  startedAtMs: z.number().nullable(),
});
export type VmInfo = z.infer<typeof vmInfoSchema>;

/** `pausedMs`: how long the machine stood still. */
export const forkResultSchema = z.object({ machines: z.array(vmInfoSchema), pausedMs: z.number().nonnegative() });
export type ForkResult = z.infer<typeof forkResultSchema>;

/** What happens to the host as a whole. */
export const hostEventSchema = z.discriminatedUnion('kind', [
  /** These machines have waited for memory for a second; `allWait`: none is left that could give some back by itself. */
  z.object({ kind: z.literal('memory-exhausted'), waiting: z.array(z.string()).readonly(), allWait: z.boolean() }),
  /** No machine waits for memory any more. */
  z.object({ kind: z.literal('memory-available') }),
  /** What the memory manager decided, at most ten a second. `at`: milliseconds since 1970; `vm` null: several machines, or none in particular. */
  z.object({
    kind: z.literal('decision'),
    at: z.number(),
    vm: z.string().nullable(),
    action: z.enum(['zero', 'share', 'drop', 'balloon', 'compress', 'swap', 'move', 'return', 'epoch']),
    pages: bytes,
    reason: z.string(),
  }),
  /** The swap file has no room, and has some again. */
  z.object({ kind: z.literal('swap-full'), capacityBytes: bytes }),
  z.object({ kind: z.literal('swap-available'), capacityBytes: bytes }),
  /** The machine waits for a page that cannot be read from where it is kept; it is tried again. */
  z.object({ kind: z.literal('page-unreadable'), machine: z.string(), reason: z.string() }),
  /** It could be read after all, or is not needed any more. */
  z.object({ kind: z.literal('page-readable'), machine: z.string() }),
]);
export type HostEvent = z.infer<typeof hostEventSchema>;

export const vmMemorySchema = z.object({
  promisedBytes: bytes,
  zeroBytes: bytes,
  privateBytes: bytes,
  sharedBytes: bytes,
  balloonedBytes: bytes,
  absentBytes: bytes,
  handyBytes: bytes,
  tableBytes: bytes,
  returnedBytes: bytes,
  cpuMs: z.number().nonnegative(),
  ...limits,
});

const managerSchema = z.object({
  scannedBytes: bytes,
  comparedBytes: bytes,
  cpuMs: z.number().nonnegative(),
  fusionCpuMs: z.number().nonnegative(),
  mergedPages: bytes,
  zeroedPages: bytes,
  brokenMerges: bytes,
  movedPages: bytes,
  droppedPages: bytes,
  balloonedPages: bytes,
  compressedPages: bytes,
  swappedPages: bytes,
  broughtPages: bytes,
  refusedNominations: bytes,
  passes: bytes,
  storeBytes: bytes,
  storeFrames: bytes,
  swapBytes: bytes,
  swapCapacityBytes: bytes,
});

export const poolMemorySchema = z.object({
  poolBytes: bytes,
  promisedBytes: bytes,
  framesInUse: bytes,
  framesPeak: bytes,
  framesByState: z.object({ private: bytes, shared: bytes, handy: bytes, free: bytes }),
  tableBytes: bytes,
  residentBytes: bytes,
  manager: managerSchema,
});

const translationSchema = z.object({
  asked: bytes,
  answered: bytes,
  known: bytes,
  inherited: bytes,
  askedAhead: bytes,
  putBack: bytes,
  evicted: bytes,
  regions: bytes,
  bytes,
  codeBytes: bytes,
  modules: bytes,
  intervals: bytes,
  workMs: z.number().nonnegative(),
  longestMs: z.number().nonnegative(),
  longestOwnMs: z.number().nonnegative(),
  p99Ms: z.number().nonnegative(),
  madeRegions: bytes,
  libraryBytes: bytes,
});

export const overviewSchema = z.object({
  memory: poolMemorySchema,
  /** Of hot code to WebAssembly; null: nothing is translated. */
  translation: translationSchema.nullable(),
  /** In the order they were made. */
  machines: z.array(vmInfoSchema.extend({ memory: vmMemorySchema })),
});
/** A host at one glance. */
export type HostOverview = z.infer<typeof overviewSchema>;

const pageCountsSchema = z.object({ zero: bytes, private: bytes, shared: bytes, ballooned: bytes, absent: bytes, rom: bytes });
const hexAddress = z.string().regex(/^0x[0-9a-f]+$/, 'must be an address such as 0x80000000');

export const memoryMapSchema = z.object({
  address: hexAddress,
  pages: bytes,
  cellPages: bytes.positive(),
  cells: z.array(pageCountsSchema),
  total: pageCountsSchema,
});

export const pageExplanationSchema = z.object({
  vm: z.string(),
  address: hexAddress,
  page: bytes,
  state: z.enum(['zero', 'private', 'shared', 'ballooned', 'absent']),
  reason: z.enum([
    'zero',
    'ballooned',
    'rom',
    'written-now',
    'quiet-unique',
    'image-page',
    'shared',
    'shared-alone',
    'in-image',
    'in-store',
  ]),
  explanation: z.string(),
  epoch: bytes,
  writtenInEpoch: bytes.nullable(),
  quietEpochs: bytes.nullable(),
  leaf: z.enum(['none', 'own', 'forked']),
  frame: z.object({ number: bytes, chunk: bytes, references: bytes, generation: bytes, code: z.boolean() }).nullable(),
  image: z.object({ path: z.string(), offset: bytes }).nullable(),
  holders: z.array(z.object({ vm: z.string(), address: hexAddress })),
  moreHolders: z.boolean(),
});

export const PROFILE_SECONDS_MAX = 60;
export const profileRequestSchema = z.strictObject({ seconds: z.number().positive().max(PROFILE_SECONDS_MAX) });

export const vmProfileSchema = z.object({
  durationMs: z.number().nonnegative(),
  ranMs: z.number().nonnegative(),
  instructions: bytes,
  samples: bytes,
  translated: bytes,
  elsewhere: bytes,
  pages: z.array(
    z.object({
      address: hexAddress,
      physical: hexAddress.nullable(),
      mode: z.enum(['user', 'kernel']),
      samples: bytes,
      translated: bytes,
      regions: bytes,
    }),
  ),
  exits: z.record(z.enum(PROFILE_EXITS), bytes),
  calls: z.record(z.enum(PROFILE_CALLS), bytes),
});

const wholeNumber = z
  .string()
  .regex(/^\d{1,16}$/, 'must be a whole number')
  .transform(Number);
export const mapQuerySchema = z.object({ cells: wholeNumber.optional() });
export const pageQuerySchema = z.object({ address: wholeNumber });

const inRange = ([least, most]: readonly [number, number]): z.ZodNumber => z.number().min(least).max(most);
const managerSettings = {
  fusion: z.boolean(),
  cpuShare: inRange(SETTINGS_RANGES.cpuShare),
  targetMs: inRange(SETTINGS_RANGES.targetMs).int(),
  quietMs: inRange(SETTINGS_RANGES.quietMs).int(),
};
export const managerSettingsSchema = z.object(managerSettings);
/** What is left out stays. */
export const managerChangesSchema = z.strictObject(managerSettings).partial();
export type ManagerChanges = z.infer<typeof managerChangesSchema>;

/** How the memory manager of a host works. */
export interface ManagerSettings {
  /** Equal pages are merged, and pages of zeros freed. */
  readonly fusion: boolean;
  /** Share of a core that it takes at most while there is memory enough, 0.01 to 1. */
  readonly cpuShare: number;
  /** It looks at all pages about so often, if the share of a core allows it, ms. */
  readonly targetMs: number;
  /** A page is looked at when nobody wrote it for so long, ms. */
  readonly quietMs: number;
}

export const hostInfoSchema = z.object({
  protocol: z.number(),
  version: z.string(),
  pid: z.number(),
  poolBytes: bytes,
  startedAtMs: z.number(),
  /** What is in force; null: this host has no memory manager. */
  manager: managerSettingsSchema.nullable(),
});
export type HostInfo = z.infer<typeof hostInfoSchema>;

const terminalSize = z.strictObject({ columns: z.number().int().min(1).max(65535), rows: z.number().int().min(1).max(65535) });
export type TerminalSize = z.infer<typeof terminalSize>;

export const execRequestSchema = z.strictObject({
  /** Text is run by `sh -c`; a list is run as it is. */
  command: z.union([z.string(), z.array(z.string()).min(1)]),
  cwd: guestPath.optional(),
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a variable name'), z.string()).optional(),
  user: z.string().min(1).optional(),
  /** False: the command reads nothing. True: input frames up to `inputEnd`. */
  stdin: z.boolean(),
  /** A terminal of this size for the command; its stderr is then part of stdout. */
  tty: terminalSize.optional(),
  timeoutMs: z
    .number()
    .positive()
    .max(2 ** 31 - 1)
    .optional(),
  /** The command outlives the client that started it. */
  detached: z.boolean().optional(),
});
export type ExecRequest = z.infer<typeof execRequestSchema>;

export const exitStatusSchema = z.object({
  /** 128 + the signal's number when a signal ended it, as a shell says it. */
  exitCode: z.number(),
  signal: z.string().nullable(),
  timedOut: z.boolean(),
});
export type ExitStatus = z.infer<typeof exitStatusSchema>;

export const consoleRequestSchema = z.strictObject({ replayBytes: bytes });
export const fileReadSchema = z.strictObject({ path: guestPath });
export const fileWriteSchema = z.strictObject({ path: guestPath, mode: z.number().int().min(0).max(0o7777).optional() });
export const fileListSchema = z.strictObject({ path: guestPath });
export const fileMakeSchema = z.strictObject({
  path: guestPath,
  recursive: z.boolean(),
  mode: z.number().int().min(0).max(0o7777).optional(),
});
export const fileRemoveSchema = z.strictObject({ path: guestPath, recursive: z.boolean() });
export const stopSchema = z.strictObject({ timeoutMs: z.number().nonnegative() });

const fileKindSchema = z.enum(['file', 'directory', 'symlink', 'other']);
export const fileStatSchema = z.object({
  kind: fileKindSchema,
  size: bytes,
  /** Permission bits, without the file's kind. */
  mode: z.number(),
  uid: z.number(),
  gid: z.number(),
  modifiedAtMs: z.number(),
});
export type FileStat = z.infer<typeof fileStatSchema>;
export const fileEntrySchema = fileStatSchema.extend({ name: z.string() });
export type FileEntry = z.infer<typeof fileEntrySchema>;

/** `value` as the schema has it, or a ShoalError that names what is wrong: `bad-argument` for a request, `protocol` for an answer. */
export function parse<T>(schema: z.ZodType<T>, value: unknown, code: 'bad-argument' | 'protocol' = 'bad-argument'): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  let issue = result.error.issues[0];
  // A wrong key of a record hides what is wrong with it one level down.
  if (issue.code === 'invalid_key' && issue.issues[0] !== undefined) issue = { ...issue, message: issue.issues[0].message };
  const where = issue.path.length > 0 ? `“${issue.path.join('.')}”: ` : '';
  throw new ShoalError(
    code,
    `${code === 'protocol' ? 'The other side sent something unexpected' : 'Bad request'}: ${where}${issue.message}.`,
  );
}

/** JSON in a frame, parsed by `schema`. */
export function parseJson<T>(schema: z.ZodType<T>, payload: Uint8Array): T {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload).toString());
  } catch {
    throw new ShoalError('protocol', 'The peer sent a frame that is not JSON.');
  }
  return parse(schema, value);
}
