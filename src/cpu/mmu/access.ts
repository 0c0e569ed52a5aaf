/**
 * Data accesses that the interpreter cannot make itself: TLB misses, accesses across a page end, devices, and the zeroing of
 * a page. Each is made whole or not at all; the pages of one that crosses are both secured before the first effect.
 *
 * Accesses to devices must be naturally aligned (others are access faults, as privileged specification 3.6 allows for I/O regions) and
 * are 1, 2 or 4 bytes wide; 8 bytes are two of 4, low half first.
 */
import { assert } from '../../base/assert.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { CBO_ZERO_BLOCK } from '../../layout/machine.ts';
import { SCRATCH } from '../../layout/thread-block.ts';
import type { MmioBus } from '../guest-pages.ts';
import { CAUSE } from '../hart/cause.ts';
import { ACCESS_SIGNED, ACCESS_SIZE, ACCESS_WRITE } from '../interpreter/boundary.ts';
import type { ArenaBytes } from './arena-bytes.ts';
import { type AccessKind, accessFault, type Mmu, READ, WRITE } from './mmu.ts';
import { ZERO_STORE_DONE, ZERO_STORE_UNKNOWN } from './tlb.ts';

const NO_BUS: MmioBus = { read: () => -1, write: () => false };

export class DataAccess {
  readonly #mmu: Mmu;
  readonly #bytes: ArenaBytes;
  readonly #words: Int32Array;
  readonly #scratch: number;
  readonly #zeroFrame: number;
  bus: MmioBus = NO_BUS;

  /** The frames of the access across a page end that `#secureBoth` granted. */
  #firstFrame = 0;
  #secondFrame = 0;

  fills = 0;
  mmioReads = 0;
  mmioWrites = 0;

  constructor(memory: WebAssembly.Memory, threadBlock: number, mmu: Mmu, bytes: ArenaBytes, zeroFrame: number) {
    assert(CBO_ZERO_BLOCK === PAGE_SIZE, 'cbo.zero clears whole pages');
    this.#mmu = mmu;
    this.#bytes = bytes;
    this.#words = new Int32Array(memory.buffer);
    this.#scratch = (threadBlock + SCRATCH) >> 2;
    this.#zeroFrame = zeroFrame;
  }

  attach(bus: MmioBus | null): void {
    this.bus = bus ?? NO_BUS;
  }

  // --- entry points of the interpreter ---

  load(vaLow: number, vaHigh: number, access: number): number {
    const size = access & ACCESS_SIZE;
    const offset = vaLow & 4095;
    const bytes = this.#bytes;
    if (offset + size > 4096) {
      const code = this.#loadAcross(vaLow, vaHigh, size);
      if (code !== 0) return code;
    } else {
      const code = this.#mmu.resolve(vaLow, vaHigh, READ, true);
      if (code !== 0) return code;
      const frame = this.#mmu.frame;
      if (frame < 0) {
        if (!this.#loadDevice(vaLow, size)) return this.#mmu.trap(CAUSE.LOAD_ACCESS, vaLow, vaHigh);
      } else {
        this.#grantRead(vaLow, vaHigh, frame);
        this.#loadFrame(frame, offset, size);
      }
    }
    this.#extend(size, (access & ACCESS_SIGNED) !== 0);
    this.#words[this.#scratch] = bytes.valueLow;
    this.#words[this.#scratch + 1] = bytes.valueHigh;
    return 0;
  }

  store(vaLow: number, vaHigh: number, access: number): number {
    const size = access & ACCESS_SIZE;
    if ((vaLow & 4095) + size > 4096) return this.#storeAcross(vaLow, vaHigh, size);
    const scratch = this.#scratch;
    if (size === 8 && (this.#words[scratch] | this.#words[scratch + 1]) === 0) return this.#storeZeros(vaLow, vaHigh);
    const code = this.#mmu.resolve(vaLow, vaHigh, WRITE, true);
    return code !== 0 ? code : this.#storeResolved(vaLow, vaHigh, size);
  }

  /**
   * A store of eight zero bytes. A page that nobody has written stays without a frame: a booting kernel clears some 32 MiB in this way that
   * it never uses.
   */
  #storeZeros(vaLow: number, vaHigh: number): number {
    const mmu = this.#mmu;
    const known = mmu.tlb.zeroStore(mmu.dataTable, vaLow, vaHigh);
    if (known === ZERO_STORE_DONE) return 0;
    const code = known === ZERO_STORE_UNKNOWN ? mmu.resolveForZeroing(vaLow, vaHigh) : mmu.resolve(vaLow, vaHigh, WRITE, true);
    if (code !== 0) return code;
    if (mmu.frame !== this.#zeroFrame) return this.#storeResolved(vaLow, vaHigh, 8);
    this.fills++;
    mmu.tlb.fillZeroing(mmu.dataTable, vaLow, vaHigh, mmu.notes);
    return 0;
  }

  /** Stores SCRATCH where `Mmu.resolve` just led to, inside one page. */
  #storeResolved(vaLow: number, vaHigh: number, size: number): number {
    const frame = this.#mmu.frame;
    if (frame < 0) {
      return this.#storeDevice(vaLow, size) ? 0 : this.#mmu.trap(CAUSE.STORE_ACCESS, vaLow, vaHigh);
    }
    this.#grantWrite(vaLow, vaHigh, frame);
    this.#storeFrame(frame, vaLow & 4095, size);
    return 0;
  }

  /** LR, SC, AMO: afterwards the access hits the TLB. Devices have no atomics. */
  secure(vaLow: number, vaHigh: number, access: number): number {
    const write = (access & ACCESS_WRITE) !== 0;
    const kind: AccessKind = write ? WRITE : READ;
    if ((vaLow & ((access & ACCESS_SIZE) - 1)) !== 0) {
      return this.#mmu.trap(write ? CAUSE.STORE_MISALIGNED : CAUSE.LOAD_MISALIGNED, vaLow, vaHigh);
    }
    return this.#grant(vaLow, vaHigh, kind);
  }

  /**
   * cbo.zero; the block is a whole page (layout/machine.ts). On a page that nobody has written it has nothing to do, so it does not take
   * a frame: the kernel clears every page it allocates this way, and many are never written otherwise. stval is the address as the
   * instruction gave it.
   */
  cboZero(vaLow: number, vaHigh: number): number {
    const mmu = this.#mmu;
    const granted = mmu.tlb.frameOf(mmu.dataTable + 1, vaLow, vaHigh);
    if (granted >= 0) {
      this.#bytes.clearFrame(granted);
      return 0;
    }
    const code = mmu.resolveForZeroing(vaLow, vaHigh);
    if (code !== 0) return code;
    const frame = mmu.frame;
    if (frame < 0) return mmu.trap(CAUSE.STORE_ACCESS, vaLow, vaHigh);
    if (frame === this.#zeroFrame) return 0;
    this.#grantWrite(vaLow, vaHigh, frame);
    this.#bytes.clearFrame(frame);
    return 0;
  }

  // --- grants ---

  #grantRead(vaLow: number, vaHigh: number, frame: number): void {
    this.fills++;
    this.#mmu.tlb.fillData(this.#mmu.dataTable, vaLow, vaHigh, frame, this.#mmu.notes);
  }

  /** A page that may be written may be read as well: W without R does not exist. */
  #grantWrite(vaLow: number, vaHigh: number, frame: number): void {
    this.fills++;
    this.#mmu.tlb.fillData(this.#mmu.dataTable + 1, vaLow, vaHigh, frame, this.#mmu.notes);
    this.#mmu.tlb.fillData(this.#mmu.dataTable, vaLow, vaHigh, frame, this.#mmu.notes);
  }

  // --- memory inside one page ---

  #loadFrame(frame: number, offset: number, size: number): void {
    const bytes = this.#bytes;
    if ((offset & 3) === 0 && size >= 4) {
      const word = frame * 1024 + (offset >> 2);
      bytes.valueLow = this.#words[word];
      if (size === 8) bytes.valueHigh = this.#words[word + 1];
    } else {
      bytes.load(frame, offset, 0, size);
    }
  }

  #storeFrame(frame: number, offset: number, size: number): void {
    const words = this.#words;
    if ((offset & 3) === 0 && size >= 4) {
      const word = frame * 1024 + (offset >> 2);
      words[word] = words[this.#scratch];
      if (size === 8) words[word + 1] = words[this.#scratch + 1];
    } else {
      this.#takeScratch();
      this.#bytes.store(frame, offset, 0, size);
    }
  }

  #takeScratch(): void {
    this.#bytes.valueLow = this.#words[this.#scratch];
    this.#bytes.valueHigh = this.#words[this.#scratch + 1];
  }

  #extend(size: number, signed: boolean): void {
    const bytes = this.#bytes;
    if (size === 8) return;
    if (size < 4) {
      const shift = 32 - 8 * size;
      bytes.valueLow = signed ? (bytes.valueLow << shift) >> shift : (bytes.valueLow << shift) >>> shift;
    }
    bytes.valueHigh = signed ? bytes.valueLow >> 31 : 0;
  }

  // --- across a page end ---

  #loadAcross(vaLow: number, vaHigh: number, size: number): number {
    const code = this.#secureBoth(vaLow, vaHigh, READ);
    if (code !== 0) return code;
    const inFirst = 4096 - (vaLow & 4095);
    this.#bytes.load(this.#firstFrame, vaLow & 4095, 0, inFirst);
    this.#bytes.load(this.#secondFrame, 0, inFirst, size);
    return 0;
  }

  #storeAcross(vaLow: number, vaHigh: number, size: number): number {
    const code = this.#secureBoth(vaLow, vaHigh, WRITE);
    if (code !== 0) return code;
    const inFirst = 4096 - (vaLow & 4095);
    this.#takeScratch();
    this.#bytes.store(this.#firstFrame, vaLow & 4095, 0, inFirst);
    this.#bytes.store(this.#secondFrame, 0, inFirst, size);
    return 0;
  }

  /**
   * Grants both pages of an access, or neither and nothing has happened. Setting A or D for one may drop the grant of the other (when
   * it is the other's page table): then once more, and this time the bits are set.
   */
  #secureBoth(vaLow: number, vaHigh: number, kind: AccessKind): number {
    const { tlb, dataTable } = this.#mmu;
    const table = kind === WRITE ? dataTable + 1 : dataTable;
    const nextLow = ((vaLow & -4096) + 4096) | 0;
    const nextHigh = (vaHigh + (nextLow === 0 ? 1 : 0)) | 0;
    for (;;) {
      this.#firstFrame = tlb.frameOf(table, vaLow, vaHigh);
      this.#secondFrame = tlb.frameOf(table, nextLow, nextHigh);
      if (this.#firstFrame >= 0 && this.#secondFrame >= 0) return 0;
      // The lower address faults first.
      const code =
        this.#resolveRam(vaLow, vaHigh, kind, false) ||
        this.#resolveRam(nextLow, nextHigh, kind, false) ||
        this.#grant(vaLow, vaHigh, kind) ||
        this.#grant(nextLow, nextHigh, kind);
      if (code !== 0) return code;
    }
  }

  #grant(vaLow: number, vaHigh: number, kind: AccessKind): number {
    const code = this.#resolveRam(vaLow, vaHigh, kind, true);
    if (code !== 0) return code;
    if (kind === WRITE) this.#grantWrite(vaLow, vaHigh, this.#mmu.frame);
    else this.#grantRead(vaLow, vaHigh, this.#mmu.frame);
    return 0;
  }

  /** `Mmu.resolve`, with an access fault for a device. */
  #resolveRam(vaLow: number, vaHigh: number, kind: AccessKind, commit: boolean): number {
    const code = this.#mmu.resolve(vaLow, vaHigh, kind, commit);
    if (code !== 0) return code;
    return this.#mmu.frame >= 0 ? 0 : this.#mmu.trap(accessFault(kind), vaLow, vaHigh);
  }

  // --- devices ---

  #loadDevice(vaLow: number, size: number): boolean {
    const offset = vaLow & 4095;
    if ((offset & (size - 1)) !== 0) return false;
    this.mmioReads++;
    const address = this.#mmu.guestFrame * 4096 + offset;
    const bytes = this.#bytes;
    const low = this.bus.read(address, size === 8 ? 4 : size);
    if (low < 0) return false;
    bytes.valueLow = low | 0;
    if (size < 8) return true;
    const high = this.bus.read(address + 4, 4);
    if (high < 0) return false;
    bytes.valueHigh = high | 0;
    return true;
  }

  #storeDevice(vaLow: number, size: number): boolean {
    const offset = vaLow & 4095;
    if ((offset & (size - 1)) !== 0) return false;
    this.mmioWrites++;
    const address = this.#mmu.guestFrame * 4096 + offset;
    const low = this.#words[this.#scratch];
    const high = this.#words[this.#scratch + 1];
    const value = size === 1 ? low & 0xff : size === 2 ? low & 0xffff : low >>> 0;
    if (!this.bus.write(address, size === 8 ? 4 : size, value)) return false;
    return size < 8 || this.bus.write(address + 4, 4, high >>> 0);
  }
}
