/**
 * An independent model of Sv39 translation, to compare the MMU with: BigInt, one step after the other, in the order and with the names of
 * the specification's own algorithm (RISC-V privileged specification, "Virtual Address Translation Process", and "Sv39"). Nothing is
 * cached and nothing is fast. It shares no code with src/cpu.
 *
 * A and D are set by "hardware" (Svadu), as the MMU under test does it.
 */
export interface PhysicalMemory {
  /** The doubleword at this address; undefined where no RAM is. */
  read(address: bigint): bigint | undefined;
  write(address: bigint, value: bigint): void;
}

export interface Translation {
  readonly satp: bigint;
  readonly mode: 'U' | 'S';
  readonly sum: boolean;
  readonly mxr: boolean;
  readonly access: 'load' | 'store' | 'fetch';
  readonly address: bigint;
}

export type TranslationResult =
  | { readonly kind: 'physical'; readonly address: bigint; readonly global: boolean }
  | { readonly kind: 'page-fault' }
  | { readonly kind: 'access-fault' };

const PAGESIZE = 4096n;
const LEVELS = 3n;
const PTESIZE = 8n;

interface Fields {
  v: boolean;
  r: boolean;
  w: boolean;
  x: boolean;
  u: boolean;
  g: boolean;
  a: boolean;
  d: boolean;
  ppn: bigint;
  ppnParts: readonly bigint[];
  top: bigint;
}

function fieldsOf(pte: bigint): Fields {
  const bit = (n: bigint): boolean => ((pte >> n) & 1n) === 1n;
  const field = (high: bigint, low: bigint): bigint => (pte >> low) & ((1n << (high - low + 1n)) - 1n);
  return {
    v: bit(0n),
    r: bit(1n),
    w: bit(2n),
    x: bit(3n),
    u: bit(4n),
    g: bit(5n),
    a: bit(6n),
    d: bit(7n),
    ppn: field(53n, 10n),
    ppnParts: [field(18n, 10n), field(27n, 19n), field(53n, 28n)],
    top: field(63n, 54n),
  };
}

const PAGE_FAULT: TranslationResult = { kind: 'page-fault' };
const ACCESS_FAULT: TranslationResult = { kind: 'access-fault' };

/** Translates, and updates A and D in `memory` when the access is allowed. `address` is an unsigned 64-bit number. */
export function translate(memory: PhysicalMemory, request: Translation): TranslationResult {
  const { satp, mode, sum, mxr, access, address: va } = request;
  const satpMode = satp >> 60n;
  if (satpMode === 0n) {
    return va >= 1n << 56n ? ACCESS_FAULT : { kind: 'physical', address: va, global: false };
  }
  // "Instruction fetch addresses and load and store effective addresses … must have bits 63–39 all equal to bit 38, or else a page-fault".
  if (BigInt.asUintN(64, BigInt.asIntN(39, va)) !== va) return PAGE_FAULT;
  const vpn = [(va >> 12n) & 0x1ffn, (va >> 21n) & 0x1ffn, (va >> 30n) & 0x1ffn];
  // Step 1.
  let a = (satp & ((1n << 44n) - 1n)) * PAGESIZE;
  let i = LEVELS - 1n;
  let global = false;
  for (;;) {
    // Step 2.
    const pteAddress = a + vpn[Number(i)] * PTESIZE;
    const pte = memory.read(pteAddress);
    if (pte === undefined) return ACCESS_FAULT;
    const f = fieldsOf(pte);
    // Step 3.
    if (!f.v || (!f.r && f.w) || f.top !== 0n) return PAGE_FAULT;
    global ||= f.g;
    // Step 4.
    if (!f.r && !f.x) {
      if (f.d || f.a || f.u) return PAGE_FAULT; // "For non-leaf PTEs, the D, A, and U bits are reserved".
      i -= 1n;
      if (i < 0n) return PAGE_FAULT;
      a = f.ppn * PAGESIZE;
      continue;
    }
    // Step 5.
    if (mode === 'U' && !f.u) return PAGE_FAULT;
    if (mode === 'S' && f.u && (access === 'fetch' || !sum)) return PAGE_FAULT;
    if (access === 'fetch' && !f.x) return PAGE_FAULT;
    if (access === 'store' && !f.w) return PAGE_FAULT;
    if (access === 'load' && !(f.r || (f.x && mxr))) return PAGE_FAULT;
    // Step 6.
    for (let j = 0n; j < i; j++) if (f.ppnParts[Number(j)] !== 0n) return PAGE_FAULT;
    // Step 7 with Svadu.
    let updated = pte | (1n << 6n);
    if (access === 'store') updated |= 1n << 7n;
    if (updated !== pte) memory.write(pteAddress, updated);
    // Step 8.
    let page = f.ppn;
    for (let j = 0n; j < i; j++) page |= vpn[Number(j)] << (9n * j);
    return { kind: 'physical', address: page * PAGESIZE + (va & 0xfffn), global };
  }
}
