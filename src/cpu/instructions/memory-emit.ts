/**
 * Guest memory as code: the TLB lookup in line, the hart's slow path out of line. Shared by everything that runs instructions,
 * whatever holds its registers.
 *
 *   hit    tag == page of the last byte  →  bytes at va + addend
 *   miss   the import does the whole access; the value travels through SCRATCH
 */
import {
  DATA_TLB,
  LAST_PAGE_SIZE,
  LAST_PAGES,
  RESERVATION_ADDRESS,
  RESERVATION_VALUE,
  SCRATCH,
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_ENTRY_SIZE,
  TLB_READ,
  TLB_WRITE,
} from '../../layout/thread-block.ts';
import {
  type Callee,
  call,
  type Fn,
  type I32,
  type I64,
  i32,
  i64,
  type LoadOp,
  type Local,
  type StoreOp,
  type T,
  type X,
} from '../../wasm/index.ts';
import { ACCESS_SIGNED, ACCESS_WRITE, EXIT } from '../interpreter/boundary.ts';
import type { AtomicCell } from './emit.ts';

export interface MemoryImports {
  readonly load: Callee<'i32'>;
  readonly store: Callee<'i32'>;
  readonly secure: Callee<'i32'>;
}

const SIGNED_LOADS: readonly LoadOp<'i64'>[] = [i64.load8_s, i64.load16_s, i64.load32_s];
export const PAGE_MASK = -4096;
const NO_RESERVATION = -1;

/** Address of the TLB entry for `va` in the table or set at `table`: entries of 16 bytes, chosen by the low bits of the page number. */
export const tlbEntry = (table: I32, va: I64): I32 =>
  i32.add(table, i32.and(i32.shr_u(i32.wrap(va), 8), (TLB_ENTRIES - 1) * TLB_ENTRY_SIZE));
/** An address as the imports take it: low half, high half. */
export const halves = (va: I64): [I32, I32] => [i32.wrap(va), i32.wrap(i64.shr_u(va, 32))];

/** No address of a page. */
const NO_PAGE = -1;

export abstract class MemoryEmit {
  protected readonly f: Fn;
  /** Arena address of the thread block: `base` + `block`, of which one is a constant of the code. */
  protected readonly base: I32;
  protected readonly block: number;
  readonly #imports: MemoryImports;
  /** DATA_TLB; whoever runs something that may change it calls `reloadDataTlb`. */
  readonly #dataTlb: Local<'i32'>;
  /** Exit code of the last import. */
  readonly code: Local<'i32'>;
  readonly #pool: Record<T, Local[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] };
  readonly #used: Record<T, number> = { i32: 0, i64: 0, f32: 0, f64: 0, v128: 0 };

  /** @param block the thread block's address in the arena, or a local that has it */
  constructor(f: Fn, block: number | I32, imports: MemoryImports) {
    this.f = f;
    this.base = typeof block === 'number' ? i32.const(0) : block;
    this.block = typeof block === 'number' ? block : 0;
    this.#imports = imports;
    this.#dataTlb = f.local('i32');
    this.code = f.local('i32');
  }

  /** Leaves with the code in `this.code`, PC at this instruction. */
  protected abstract leave(): void;
  /** Leaves with the code in `this.code`, PC behind this instruction, which is done. */
  protected abstract leaveAfter(): void;

  /** Temporaries of the instruction before are free again. */
  protected begin(): void {
    for (const t of Object.keys(this.#used) as T[]) this.#used[t] = 0;
  }

  protected temporary<t extends T>(t: t): Local<t> {
    const pool = this.#pool[t];
    const at = this.#used[t]++;
    pool[at] ??= this.f.local(t);
    return pool[at] as Local<t>;
  }

  let<t extends T>(value: X<t>): X<t> {
    if (value.k !== undefined) return value;
    const local = this.temporary(value.t);
    this.f.set(local, value);
    return local;
  }

  reloadDataTlb(): void {
    this.f.set(this.#dataTlb, i32.load(this.base, this.block + DATA_TLB));
  }

  /** Which of LAST_PAGES the instruction's access looks in before the TLB, if any. */
  protected lastPage(): number | undefined {
    return undefined;
  }
  /** Comes after each call of an import that comes back: it may have dropped grants. */
  protected forgetPages(): void {}

  protected forgetPage(number: number): void {
    this.f.store(i64.store, this.base, NO_PAGE, this.#lastPageAt(number));
  }
  #lastPageAt(number: number): number {
    return this.block + LAST_PAGES + number * LAST_PAGE_SIZE;
  }

  load(op: LoadOp<'i64'>, address: I64): I64 {
    const { f } = this;
    const value = this.temporary('i64');
    const va = this.let(address);
    const slow = (): void => {
      this.#slow(this.#imports.load, va, op.size | (SIGNED_LOADS.includes(op) ? ACCESS_SIGNED : 0));
      f.set(value, i64.load(this.base, this.block + SCRATCH));
    };
    this.#access(TLB_READ, va, op.size, slow, (host) => f.set(value, op(host)));
    return value;
  }

  store(op: StoreOp<'i64'>, address: I64, value: I64): void {
    const { f } = this;
    const va = this.let(address);
    const slow = (): void => {
      f.store(i64.store, this.base, value, this.block + SCRATCH);
      this.callOrLeave(this.#imports.store, ...halves(va), i32.const(op.size));
    };
    this.#access(TLB_WRITE, va, op.size, slow, (host) => f.store(op, host, value));
  }

  /** `fast` gets the bytes' address in the arena if the page is in the cache or in the TLB; else all is done by `slow`. */
  #access(table: number, va: I64, size: number, slow: () => void, fast: (host: I32) => void): void {
    const { f } = this;
    const number = this.lastPage();
    if (number === undefined) {
      const entry = this.let(tlbEntry(this.#dataTlb, va));
      f.if(misses(entry, table, va, size), slow, () => fast(hostAddress(entry, table, va)), 'unlikely');
      return;
    }
    const last = this.#lastPageAt(number);
    f.block((done) => {
      const look = (): void => {
        const entry = this.let(tlbEntry(this.#dataTlb, va));
        const miss = (): void => {
          slow();
          f.br(done);
        };
        f.if(misses(entry, table, va, size), miss, undefined, 'unlikely');
        f.store(i64.store, this.base, i64.load(entry, table), last);
        f.store(i32.store, this.base, i32.load(entry, table + TLB_ADDEND), last + TLB_ADDEND);
      };
      // The low bits stay in the comparison: what is misaligned may cross the page's end.
      f.if(i64.ne(i64.load(this.base, last), i64.and(va, PAGE_MASK | (size - 1))), look, undefined, 'unlikely');
      fast(i32.add(i32.wrap(va), i32.load(this.base, last + TLB_ADDEND)));
    });
  }

  atomic(va: I64, size: 4 | 8, write: boolean): AtomicCell {
    const { f } = this;
    const table = write ? TLB_WRITE : TLB_READ;
    const entry = this.let(tlbEntry(this.#dataTlb, va));
    // The low bits stay in the comparison, so that a misaligned address misses.
    f.if(
      i64.ne(i64.load(entry, table), i64.and(va, PAGE_MASK | (size - 1))),
      () => this.#slow(this.#imports.secure, va, size | (write ? ACCESS_WRITE : 0)),
      undefined,
      'unlikely',
    );
    const host = this.let(hostAddress(entry, table, va));
    const [loadOp, storeOp] = size === 4 ? [i64.load32_s, i64.store32] : [i64.load, i64.store];
    return { read: () => loadOp(host), write: (value) => f.store(storeOp, host, value) };
  }

  reserve(address: I64, value: I64): void {
    this.f.store(i64.store, this.base, address, this.block + RESERVATION_ADDRESS);
    this.f.store(i64.store, this.base, value, this.block + RESERVATION_VALUE);
  }

  /**
   * The reservation stands while the address is the same and memory still holds what LR read, as QEMU has it. A misaligned
   * address faults even if there is no reservation; a page that cannot be written only if there is one.
   */
  storeConditional(va: I64, size: 4 | 8, value: I64): I64 {
    const { f } = this;
    const failed = this.temporary('i64');
    f.set(failed, 1);
    const matches = i64.eq(i64.load(this.base, this.block + RESERVATION_ADDRESS), va);
    f.if(i32.or(matches, i64.ne(i64.and(va, size - 1), 0)), () => {
      const cell = this.atomic(va, size, true);
      f.if(i64.eq(cell.read(), i64.load(this.base, this.block + RESERVATION_VALUE)), () => {
        cell.write(value);
        f.set(failed, 0);
      });
    });
    f.store(i64.store, this.base, NO_RESERVATION, this.block + RESERVATION_ADDRESS);
    return failed;
  }

  protected illegalIf(condition: I32): void {
    const illegal = (): void => {
      this.f.set(this.code, EXIT.ILLEGAL);
      this.leave();
    };
    this.f.if(condition, illegal, undefined, 'unlikely');
  }

  /** Calls an import that may say LEAVE, which means that it did its work: the instruction must have nothing left to do. */
  protected callOrLeave(callee: Callee<'i32'>, ...args: X[]): void {
    const codeIsSet = (): void => {
      this.f.if(i32.eq(this.code, EXIT.LEAVE), () => this.leaveAfter());
      this.leave();
    };
    this.f.set(this.code, call(callee, ...args));
    this.f.if(this.code, codeIsSet, undefined, 'unlikely');
    this.forgetPages();
  }

  #slow(callee: Callee<'i32'>, va: I64, access: number): void {
    this.f.set(this.code, call(callee, ...halves(va), i32.const(access)));
    this.f.if(this.code, () => this.leave(), undefined, 'unlikely');
    this.forgetPages();
  }
}

/** The page of the last byte, so that what is misaligned inside a page hits and what crosses its end misses. */
function misses(entry: X<'i32'>, table: number, va: I64, size: number): I32 {
  return i64.ne(i64.load(entry, table), i64.and(i64.add(va, size - 1), PAGE_MASK));
}

function hostAddress(entry: X<'i32'>, table: number, va: I64): I32 {
  return i32.add(i32.wrap(va), i32.load(entry, table + TLB_ADDEND));
}
