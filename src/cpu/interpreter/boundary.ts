/**
 * What passes between the interpreter's WebAssembly and the hart: the calls it makes, and why it comes back.
 *
 * All numbers are i32 (addresses as two halves, signed), so no call allocates. The interpreter keeps the program counter and the
 * instruction count in locals; both are in the thread block (REG_PC, BUDGET) after every exit. Inside a call PC is not there, and
 * BUDGET only inside `csr` and `sfence`.
 *
 * A call gives 0 to go on, or an exit code to come back with. LEAVE from `store`, `csr` and `sfence` means "done, but leave", and PC
 * is behind the instruction; any other code means that the instruction did nothing, and PC is at it.
 */

/** Low four bits of an access: its size in bytes (1, 2, 4, 8). */
export const ACCESS_SIZE = 15;
/** `load`: sign-extend the value to 64 bits. */
export const ACCESS_SIGNED = 16;
/** `secure`: for SC and AMO. Secure for writing as well; faults are store/AMO faults. Without it: LR, load faults. */
export const ACCESS_WRITE = 32;

export interface InterpreterImports {
  /** Data TLB miss, page crossing or MMIO: performs the whole load and leaves the extended value in SCRATCH. */
  load(vaLow: number, vaHigh: number, access: number): number;
  /** As `load`; the value is in SCRATCH, its bits above the size are anything. LEAVE if a device raised an interrupt. */
  store(vaLow: number, vaHigh: number, access: number): number;
  /** LR, SC and AMO: raises the misaligned exception; else fills the read or the write TLB entry, which then is certain to hit. */
  secure(vaLow: number, vaHigh: number, access: number): number;
  /** Fetch TLB miss: fills the entry with the page from `DecodeCache.pageFor`. PC of the exit is the address asked for. */
  fetch(pcLow: number, pcHigh: number): number;
  /** The slot is not decoded yet; its page is the one that the fetch TLB holds for this pc. The hart passes it to `DecodeCache.decode`. */
  decode(slotAddress: number, pcLow: number, pcHigh: number): number;
  /**
   * A whole CSR instruction, writing of x[rd] included. `csrAndKind` = CSR number | kind << 12, kind as funct3: 1 csrrw, 2 csrrs,
   * 3 csrrc; 5, 6, 7 with the immediate. The last argument is the number of rs1, or the immediate. DATA_TLB may change.
   * LEAVE if interrupts may be enabled now or satp was written.
   */
  csr(csrAndKind: number, rd: number, rs1OrImmediate: number): number;
  /** sfence.vma with the numbers of rs1 and rs2. 0: done, and the next instruction is fetched anew. LEAVE as for `csr`. */
  sfence(rs1: number, rs2: number): number;
  /** Whole cbo.zero: clears the block around the address (CBO_ZERO_BLOCK). */
  cboZero(vaLow: number, vaHigh: number): number;
}

export const EXIT = {
  /** The budget ran out at a taken branch; PC is its target. */
  BUDGET: 1,
  /** The hart recorded cause and value; PC is the faulting instruction. */
  TRAP: 2,
  /** PC is at the ecall, ebreak, illegal instruction, sret. */
  ECALL: 3,
  EBREAK: 4,
  ILLEGAL: 5,
  SRET: 6,
  /** PC is at the wfi, which is not yet counted. */
  WFI: 7,
  /** A 4-byte instruction crosses the end of its page; PC is at it. See `Interpreter.runStraddling`. */
  STRADDLE: 8,
  /** State changed: look for interrupts. PC is the next instruction. */
  LEAVE: 9,
  /** A page must be waited for. PC is the instruction, which starts again. */
  WAIT: 10,
} as const;

/**
 * A region of translated code: (pc, budget, address of the thread block) → exit code, or 0: go on at PC. PC, budget and registers are in the
 * thread block then.
 */
export const REGION_PARAMS = ['i64', 'i64', 'i32'] as const;
export const REGION_RESULT = 'i32';

export interface Interpreter {
  /** What regions call: floating point and wide multiplication, by name (functions.ts). */
  readonly functions: Readonly<Record<string, unknown>>;
  /** Runs from REG_PC until an exit; registers, BUDGET, TLB sets from the thread block. Gives the exit code. */
  run(): number;
  /** Runs the one µop in STRADDLE_SLOTS (`Predecoder.decodeStraddling`) as the instruction at REG_PC, then goes on like `run`. */
  runStraddling(): number;
}
