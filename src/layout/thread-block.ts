/**
 * A vCPU thread's block in the arena: the registers of the hart that it runs at this moment, and the TLB.
 *
 * Registers are here, at addresses that are constants of the thread's own interpreter module, only while a
 * hart is on the thread: `Hart.enter` copies them in, `Hart.leave` copies them out. The TLB belongs to the
 * thread; it is emptied when another VM enters, so an unscheduled VM has no grant anywhere.
 *
 * Offsets are bytes from the block's base.
 */
export const REG_X = 0x000; // 32 × i64; x0 is kept 0
export const REG_F = 0x100; // 32 × i64; single-precision values are NaN-boxed
export const REG_PC = 0x200; // i64
export const BUDGET = 0x208; // i64: instructions left in this slice; the run ends at the first taken branch below 0
export const FFLAGS = 0x210; // i32: accrued flags NV 16, DZ 8, OF 4, UF 2, NX 1
export const FRM = 0x214; // i32: dynamic rounding mode, 0–7
export const FS = 0x218; // i32: sstatus.FS, 0 off, 1 initial, 2 clean, 3 dirty
export const DATA_TLB = 0x21c; // i32: arena address of the data TLB set in force (user, supervisor, supervisor with SUM)
export const FETCH_TLB = 0x220; // i32: arena address of the fetch TLB set in force
export const SCRATCH = 0x228; // i64: result of a slow load; value of a slow store
export const RESERVATION_ADDRESS = 0x230; // i64: virtual address of the LR reservation, -1 when there is none
export const RESERVATION_VALUE = 0x238; // i64: what LR read, sign-extended
export const REGISTER_BYTES = 0x240;

/** i64: an address in the page that was running when the budget ran out. No register: it holds from a BUDGET exit to the next run. */
export const RAN_OUT_AT = 0x240;

/**
 * Pages that accesses in a loop of translated code were in last: i64 address, or NO_PAGE; i32 addend, as in the TLB; 4 bytes unused. Of a loop, from its
 * begin until it is left.
 */
export const LAST_PAGES = 0x280;
export const LAST_PAGE_SIZE = 16;
export const LAST_PAGES_MAX = 8;

/** Scratch µops for the one instruction that crosses a page end: two slots and a sentinel. */
export const STRADDLE_SLOTS = 0x800;

/**
 * TLB. An entry is 16 bytes: i64 tag = virtual address of the page (low 12 bits clear), or -1 for "empty"; i32 addend =
 * arena address − virtual address (mod 2^32), for fetch the arena address of the decoded page; 4 bytes unused.
 * Entry of virtual address va: (va >> 12) mod TLB_ENTRIES. A data access of n bytes hits when
 * tag == ((va + n − 1) & −4096): a misaligned access inside one page is a hit, one that crosses the end is a miss.
 */
export const TLB_ENTRIES = 2048;
export const TLB_ENTRY_SIZE = 16;
export const TLB_ADDEND = 8;
export const TLB_TABLE_SIZE = TLB_ENTRIES * TLB_ENTRY_SIZE;
/** Within a data set: the read table, then the write table. */
export const TLB_READ = 0;
export const TLB_WRITE = TLB_READ + TLB_TABLE_SIZE;
export const DATA_SET_SIZE = 2 * TLB_TABLE_SIZE;

/** Data sets: user, supervisor, supervisor with SUM. Then the fetch sets: user, supervisor. */
export const TLB_START = 0x1000;
export const DATA_SET_USER = TLB_START + 0 * DATA_SET_SIZE;
export const DATA_SET_SUPERVISOR = TLB_START + 1 * DATA_SET_SIZE;
export const FETCH_SET_USER = TLB_START + 3 * DATA_SET_SIZE;
export const TLB_END = FETCH_SET_USER + 2 * TLB_TABLE_SIZE;
