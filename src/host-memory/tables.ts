/**
 * The words of host-memory's own tables: control page, VM entries, chunk entries. Offsets are in 32-bit words.
 *
 *   control page   two mutexes, pool-wide counters, thresholds, one doorbell per thread
 *   VM entry       4 KiB: the account, the root of the page directories, the stack of handy frames
 *   chunk entry    256 B: state, domain, list links, bitmaps; then the heads of the free sets, then
 *                  who owns how much of which chunk, then one word per table page
 *
 * Not for guest page entries (guest-memory/page-entry.ts) nor frame entries (frame-entry.ts).
 */
import { type ArenaMap, CHUNK_FRAMES, CONTROL_PAGE } from '../layout/arena.ts';

const CONTROL = CONTROL_PAGE / 4;

/** Mutex words: 0 free, 1 held, 2 held and somebody waits. Each has a cache line of its own. */
export const ACCOUNTS_LOCK = CONTROL;
export const CHUNKS_LOCK = CONTROL + 16;

// The critical section of "accounts" must be held to change these.
export const PROMISED_PAGES = CONTROL + 32;
export const PROMISE_LIMIT_PAGES = CONTROL + 33;
export const NEXT_TICKET = CONTROL + 34;
export const VM_COUNT = CONTROL + 35;
/** VM_BREAKS and VM_BROUGHT of VMs that are gone, added up, mod 2^32. */
export const ENDED_BREAKS = CONTROL + 37;
export const ENDED_BROUGHT = CONTROL + 38;
// Both mutexes must be held to change it, so either suffices to read it.
export const WAITER_COUNT = CONTROL + 36;

// The critical section of "chunk set" must be held to change these.
export const FREE_FRAMES = CONTROL + 48;
/** Frames taken off the free sets while the system call runs that returns them. */
export const RELEASING_FRAMES = CONTROL + 49;
/** Free frames that are not known to be zero, so the host OS may still hold memory for them. */
export const DIRTY_FREE_FRAMES = CONTROL + 50;
export const TABLE_BREAK = CONTROL + 51;
export const TABLE_CLEAN_HEAD = CONTROL + 52;
export const TABLE_DIRTY_HEAD = CONTROL + 53;
export const TABLES_IN_USE = CONTROL + 54;
export const FRAMES_PEAK = CONTROL + 55;
/** Chunks by CHUNK_RETURN: those that are CHANGED, and those that are RESTING or RESTED. */
export const CHANGED_CHUNKS = CONTROL + 56;
/** Those of FREE_FRAMES that lie in wholly free chunks: any domain may have them. */
export const EMPTY_FRAMES = CONTROL + 57;
export const RESTING_CHUNKS = CONTROL + 58;

// Changed by anyone, atomically.
export const SHARED_FRAMES = CONTROL + 64;
export const LOCKS_TAKEN = CONTROL + 65;
export const SYSTEM_CALLS = CONTROL + 66;
export const RETURNED_PAGES = CONTROL + 67;
export const RETURN_CURSOR = CONTROL + 68;
/** Contiguous runs of guest pages that lists of balloons and reports changed. */
export const GIVEN_RUNS = CONTROL + 69;
/** CPU time that owners took for what the memory worker nominated, µs mod 2^32. */
export const OWNERS_TIME = CONTROL + 71;
/** The part of it for zero reclaim and merges. */
export const OWNERS_FUSION_TIME = CONTROL + 72;
/** When (ms of the monotonic clock, wrapping) chunks that rest are looked at again. */
export const REST_DUE = CONTROL + 70;

// Set when the pool opens, then constant.
export const EMERGENCY_RESERVE = CONTROL + 80;
export const BREAK_RESERVE = CONTROL + 81;
export const HANDY_BATCH = CONTROL + 82;
export const HANDY_MAX = CONTROL + 83;
/** Free frames in wholly free chunks below which a refill wakes the memory worker; 0 while there is none. */
export const LOW_WATERMARK = CONTROL + 84;

/** One word for each reader without locks: odd while it reads tables of guests (readers.ts). */
export const READER_PHASES = CONTROL + 96;

/** Those of FREE_FRAMES that lie in the chunks of one domain and kind, two words a domain: only they may have them. */
export const CLASS_FREE_FRAMES = CONTROL + 512;

/** What the memory worker has done, one word each (mod 2^32); only it writes them. Pages unless named otherwise. */
export const WORKER_COUNTS = CONTROL + 400;
export const WORKER_COUNT_NAMES = [
  'passes',
  'read',
  'compared',
  'merged',
  'zeroed',
  'refused',
  'moved',
  'dropped',
  'compressed',
  'swapped',
  'cpuMs',
  'fusionCpuMs',
  'storeBytes',
  'storeFrames',
  'swapBlocks',
  'swapCapacity',
  'ballooned',
] as const;

/** One for each vCPU thread, then the memory worker's. */
export const DOORBELLS = CONTROL + 128;
export const DOORBELL_STRIDE = 16;

/** One VM. */
export const VM_ENTRY_SIZE = 4096;
export const VM_ENTRY_WORDS = VM_ENTRY_SIZE / 4;
/** 0 no VM, 1 alive, 2 dying. Changed under "accounts". */
export const VM_STATE = 0;
export const VM_FREE = 0;
export const VM_ALIVE = 1;
export const VM_DYING = 2;
export const VM_DOMAIN = 1;
export const VM_PROMISED = 2;
export const VM_THREAD = 3;
// Only the owner changes these; anyone reads them.
export const VM_PRIVATE = 4;
export const VM_SHARED = 5;
export const VM_BALLOONED = 6;
export const VM_ABSENT = 7;
export const VM_HANDY = 8;
export const VM_TABLES = 9;
export const VM_RETURNED = 10;
export const VM_EPOCH = 11;
export const VM_ROM = 14;
/** Frames charged to this VM: private + handy + surplus + in transit. */
export const VM_CHARGED = 15;
/** The frame that an operation of the owner has in its hands: neither handy any more nor in a page entry yet. */
export const VM_TRANSIT_FRAME = 16;
/** As above, a shared frame whose reference the owner still has to give up. */
export const VM_TRANSIT_REFERENCE = 17;
/** As above, a shared frame with a reference that a page is about to get. */
export const VM_TRANSIT_GAIN = 18;
/**
 * Frames that the owner gave up and that are no handy ones: a chain through the frame table, and its length. Empty between two operations, but
 * for nominations that are carried out at once: there, when the last of them is.
 */
export const VM_SURPLUS = 28;
export const VM_SURPLUS_COUNT = 29;
// Changed under both mutexes, by the owner. A ticket 0 means "does not wait".
export const VM_TICKET = 12;
/** Frames that it waits for. */
export const VM_WANTED = 13;
/** What it waits for: a FrameUse by its place in FRAME_USES, or WAITS_FOR_TABLE. */
export const VM_WAITS_FOR = 19;
export const WAITS_FOR_TABLE = 3;
/** How many VMs had this slot, this one included: outlives them. Changed under "accounts". */
export const VM_LIFE = 20;
/** Shared pages that this VM copied to write them. Only the owner changes it. */
export const VM_BREAKS = 21;
/** Absent pages that came back. */
export const VM_BROUGHT = 22;
/** Time that its hart ran, in microseconds mod 2^32. Changed by its thread. */
export const VM_RUN_TIME = 23;
// Set by the main thread at any time: frames that reclaim leaves it, and above which it is the first to give (0: none); its weight.
export const VM_MINIMUM = 24;
export const VM_MAXIMUM = 25;
export const VM_SHARES = 26;
/** Pages that got another frame with the same bytes, and no stamp for it. Only the owner changes it. */
export const VM_MOVED = 27;
/** Time that its hart ran since the machine was made, in milliseconds mod 2^32, across power-offs. Changed by its thread. */
export const VM_RUN_MS = 30;
// What the balloon shall hold, and what the guest says of itself, pages; how often it said something (mod 2^32). Changed by its thread.
export const VM_BALLOON_TARGET = 31;
export const VM_GUEST_FREE = 32;
export const VM_GUEST_AVAILABLE = 33;
export const VM_STATISTICS = 34;
/** 64 words: the page directories, each for 2 GiB of promise. */
export const VM_ROOT = 64;
export const VM_ROOT_COUNT = 64;
/** The stack of handy frames: frame number, with HANDY_CLEAN when it is known to be zero. */
export const VM_HANDY_STACK = 128;
export const VM_HANDY_CAPACITY = 832;
export const HANDY_CLEAN = 0x8000_0000 | 0;

/** One chunk. */
export const CHUNK_WORDS = 64;
export const CHUNK_STATE = 0;
export const CHUNK_FREE = 0;
export const CHUNK_PRIVATE = 1;
export const CHUNK_SHARED = 2;
/** Wholly free, and on its way back to the host OS: no list has it. */
export const CHUNK_RELEASING = 3;
export const CHUNK_DOMAIN = 1;
export const CHUNK_FREE_COUNT = 2;
/** Chunk index + 1, 0 for the end of the list. */
export const CHUNK_PREVIOUS = 3;
export const CHUNK_NEXT = 4;
/** Index + 1 of the free set that lists this chunk, 0 for none. */
export const CHUNK_SET = 5;
export const CHUNK_DIRTY_COUNT = 6;
/** Frames of this chunk whose return to the host OS is under way. */
export const CHUNK_RELEASING_COUNT = 7;
/** What the chunk may have to return to the host OS. */
export const CHUNK_RETURN = 8;
export const NOTHING = 0;
/** A frame came back since the chunk was last looked through for long runs. */
export const CHANGED = 1;
/** What is left are short runs; it is waited whether somebody takes them, */
export const RESTING = 2;
/** and nobody took or gave a frame for a while. */
export const RESTED = 3;
export const BITMAP_WORDS = CHUNK_FRAMES / 32;
export const CHUNK_FREE_BITS = 16;
/** Free and known to be zero. A subset of the free bits. */
export const CHUNK_CLEAN_BITS = 32;
export const CHUNK_RELEASING_BITS = 48;

export const DOMAIN_COUNT = 256;
/** The domain of pages of files that belong to no guest's domain. */
export const FILE_DOMAIN = 255;
/** The domain of frames with compressed pages (page-store). No page entry ever leads to one. */
export const STORE_DOMAIN = 254;
/** Domains of guests are 0 to DOMAIN_MAX. */
export const DOMAIN_MAX = 253;
/** Free sets by fullness: per domain and kind (private, shared) one list for each 64 free frames. */
export const FREE_SET_BUCKETS = 8;
const FREE_SETS = DOMAIN_COUNT * 2 * FREE_SET_BUCKETS;
/** The set of wholly free chunks, which belong to no domain. */
export const EMPTY_SET = FREE_SETS;

const FREE_SET_WORDS = FREE_SETS + 16;

export const chunkTableBytes = (chunkCount: number, vmCountMax: number, tablePageCount: number): number =>
  (chunkCount * CHUNK_WORDS + FREE_SET_WORDS) * 4 + Math.ceil((vmCountMax * chunkCount) / 2) * 4 + tablePageCount * 4;

/** Word index of the heads of the free sets. */
export const freeSetHeads = (map: ArenaMap): number => map.chunkTable / 4 + map.chunkCount * CHUNK_WORDS;

/** Byte address of the owned-frames counts: one u16 per VM and chunk. */
export const ownedCounts = (map: ArenaMap): number => (freeSetHeads(map) + FREE_SET_WORDS) * 4;

/** Word index of the table page words: references while in use, link to the next while free. */
export const tablePageWords = (map: ArenaMap): number => ownedCounts(map) / 4 + Math.ceil((map.vmCountMax * map.chunkCount) / 2);
