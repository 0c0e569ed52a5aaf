/** The MMU against an independent model of the specification, over random page tables. */
import { describe, expect, it } from 'vitest';
import { type Translation, type TranslationResult, translate } from '../../../test/oracle/sv39-model.ts';
import { THREAD_BLOCKS } from '../../layout/arena.ts';
import { RAM_BASE } from '../../layout/machine.ts';
import { CAUSE } from '../hart/cause.ts';
import { makeArena, RAM_PAGES, TEST_MAP, TestPages } from '../hart/machine-for-tests.ts';
import { ACCESS_WRITE, EXIT } from '../interpreter/boundary.ts';
import { DataAccess } from './access.ts';
import { ArenaBytes } from './arena-bytes.ts';
import { FETCH, Mmu, READ, WRITE } from './mmu.ts';
import { TABLE_FETCH_SUPERVISOR, TABLE_FETCH_USER, TABLE_SUPERVISOR, TABLE_SUPERVISOR_SUM, TABLE_USER } from './tlb.ts';

const TRANSLATIONS = 120_000;
const GRANT_STEPS = 20_000;

/** Mulberry32: small, seeded, good enough to choose cases. */
class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed;
  }
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }
  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }
  pick<value>(values: readonly value[]): value {
    return values[this.below(values.length)];
  }
}

const FIRST_PAGE = BigInt(RAM_BASE / 4096);
const TABLES = 24;
/** The slots of each table that are in use, so that random walks meet each other. */
const SLOTS = [0, 1, 2, 255, 256, 510, 511];
const CAUSES = {
  load: { 'page-fault': CAUSE.LOAD_PAGE_FAULT, 'access-fault': CAUSE.LOAD_ACCESS },
  store: { 'page-fault': CAUSE.STORE_PAGE_FAULT, 'access-fault': CAUSE.STORE_ACCESS },
  fetch: { 'page-fault': CAUSE.FETCH_PAGE_FAULT, 'access-fault': CAUSE.FETCH_ACCESS },
} as const;
const KINDS = { load: READ, store: WRITE, fetch: FETCH } as const;
const low = (value: bigint): number => Number(BigInt.asIntN(32, value));
const high = (value: bigint): number => Number(BigInt.asIntN(32, value >> 32n));

class Bench {
  readonly random: Random;
  readonly pages: TestPages;
  readonly mmu: Mmu;
  readonly access: DataAccess;
  /** The model's own copy of guest memory: doublewords by address. */
  readonly #copy = new Map<bigint, bigint>();

  constructor(seed: number) {
    this.random = new Random(seed);
    const memory = makeArena();
    this.pages = new TestPages(memory);
    this.mmu = new Mmu(memory, THREAD_BLOCKS, TEST_MAP.zeroFrame);
    this.access = new DataAccess(memory, THREAD_BLOCKS, this.mmu, new ArenaBytes(memory), TEST_MAP.zeroFrame);
    this.pages.tlb = this.mmu;
    this.mmu.attach(this.pages);
  }

  readonly memory = {
    read: (address: bigint): bigint | undefined => {
      const page = address / 4096n - FIRST_PAGE;
      return page >= 0n && page < BigInt(RAM_PAGES) ? (this.#copy.get(address) ?? 0n) : undefined;
    },
    write: (address: bigint, value: bigint): void => {
      this.#copy.set(address, value);
    },
  };

  /** Writes an entry in both memories. */
  setEntry(table: number, slot: number, pte: bigint): void {
    const address = (FIRST_PAGE + BigInt(table)) * 4096n + BigInt(slot) * 8n;
    this.memory.write(address, pte);
    this.pages.put(Number(address), low(pte), high(pte));
  }

  /** All entries that the model wrote are the same in the guest's memory. */
  expectSameMemory(): void {
    for (const [address, value] of this.#copy) {
      const found = readGuest(this, address);
      if (found !== value)
        expect.unreachable(`the entry at ${address.toString(16)} is ${found?.toString(16)}, not ${value.toString(16)}`);
    }
  }

  randomEntry(level: number): bigint {
    const { random } = this;
    if (random.chance(12)) return BigInt(random.below(2 ** 32)) | (BigInt(random.below(2 ** 32)) << 32n);
    const isTable = level > 0 && !random.chance(3);
    let page = FIRST_PAGE + BigInt(isTable ? random.below(TABLES) : random.below(RAM_PAGES));
    if (random.chance(20)) page = random.pick([0x10000n, 0n, 1n << 43n, (1n << 44n) - 1n]);
    if (!isTable && level > 0 && !random.chance(4)) page &= ~((1n << (9n * BigInt(level))) - 1n);
    let flags = isTable ? 1 : 1 | random.pick([2, 6, 8, 10, 14, 14, 14]) | (random.below(16) << 4);
    if (isTable && random.chance(8)) flags |= 0x20;
    if (random.chance(25)) flags ^= 1 << random.below(8);
    let pte = (page << 10n) | BigInt(flags) | (BigInt(random.below(4)) << 8n);
    if (random.chance(30)) pte |= 1n << BigInt(54 + random.below(10));
    return pte;
  }

  fillTables(): void {
    for (let table = 0; table < TABLES; table++) {
      // Table 0 is the root; the first third tend to be second-level tables, the rest third-level ones.
      const level = table === 0 ? 2 : table < TABLES / 3 ? 1 : 0;
      for (const slot of SLOTS) this.setEntry(table, slot, this.randomEntry(level));
    }
  }

  randomAddress(): bigint {
    const { random } = this;
    const vpn = SLOTS.length;
    let va =
      (BigInt(SLOTS[random.below(vpn)]) << 30n) |
      (BigInt(SLOTS[random.below(vpn)]) << 21n) |
      (BigInt(SLOTS[random.below(vpn)]) << 12n) |
      BigInt(random.below(512) * 8);
    va = BigInt.asUintN(64, BigInt.asIntN(39, va));
    return random.chance(40) ? va ^ (1n << BigInt(39 + random.below(25))) : va;
  }
}

function check(bench: Bench, request: Translation): TranslationResult['kind'] {
  const { mmu } = bench;
  mmu.setMode(request.mode === 'U', request.sum, request.mxr);
  let update = (): void => {};
  const read = bench.memory.read;
  const write = (address: bigint, value: bigint): void => {
    update = () => bench.memory.write(address, value);
  };
  const expected = translate({ read, write }, request);
  // A fetch from what is not RAM is refused after the translation, and then A stays as it was; it may, or may not, be set.
  const isFetchFromNowhere =
    expected.kind === 'physical' && request.access === 'fetch' && read(expected.address & ~7n) === undefined;
  if (!isFetchFromNowhere) update();
  const code = mmu.resolve(low(request.address), high(request.address), KINDS[request.access], true);
  const outcome =
    code === 0
      ? `page ${mmu.guestFrame}`
      : `${code === EXIT.TRAP ? 'trap' : 'exit'} ${mmu.trapCause} ${mmu.trapValueHigh} ${mmu.trapValueLow}`;
  const kind = isFetchFromNowhere ? 'access-fault' : expected.kind;
  const wanted =
    expected.kind === 'physical' && kind === 'physical'
      ? `page ${expected.address / 4096n}`
      : `trap ${kind === 'physical' ? '' : CAUSES[request.access][kind]} ${high(request.address)} ${low(request.address)}`;
  // Not `expect` for each: it would take most of the time.
  if (outcome !== wanted)
    expect.unreachable(`${request.access} ${request.mode} ${request.address.toString(16)}: ${outcome}, not ${wanted}`);
  return expected.kind;
}

describe('Sv39', () => {
  it(`translates as the specification says, ${TRANSLATIONS} times over random tables`, () => {
    const seen = { physical: 0, 'page-fault': 0, 'access-fault': 0 };
    for (let seed = 1, done = 0; done < TRANSLATIONS; seed++) {
      const bench = new Bench(seed);
      for (let round = 0; round < 10; round++) {
        bench.fillTables();
        bench.mmu.setAddressSpace(true, Number(FIRST_PAGE));
        for (let i = 0; i < 2_000; i++, done++) {
          const { random } = bench;
          const kind = check(bench, {
            satp: (8n << 60n) | FIRST_PAGE,
            mode: random.pick(['U', 'S'] as const),
            sum: random.chance(2),
            mxr: random.chance(2),
            access: random.pick(['load', 'store', 'fetch'] as const),
            address: bench.randomAddress(),
          });
          seen[kind]++;
          // What a translation changed has to show in the next ones; so has what the guest changes.
          if (random.chance(20)) bench.setEntry(random.below(TABLES), random.pick(SLOTS), bench.randomEntry(random.below(3)));
        }
        bench.expectSameMemory();
      }
    }
    expect(seen.physical).toBeGreaterThan(TRANSLATIONS / 20);
    expect(seen['page-fault']).toBeGreaterThan(TRANSLATIONS / 20);
    expect(seen['access-fault']).toBeGreaterThan(TRANSLATIONS / 500);
  });

  it('is the identity when satp is Bare, below 2^56', () => {
    const bench = new Bench(1);
    bench.mmu.setAddressSpace(false, 0);
    const base = { satp: 0n, mode: 'S', sum: false, mxr: false, access: 'load' } as const;
    for (const address of [0n, 0x8000_0000n, 0x8012_3456n, (1n << 56n) - 8n, 1n << 56n, 1n << 63n])
      check(bench, { ...base, address });
  });
});

describe('the TLB', () => {
  it('holds no grant that the tables and the mode would refuse, after any fences', () => {
    for (let seed = 1; seed <= 12; seed++) grantsStayRight(seed);
  });
});

/** Random accesses fill it; tables change and the guest fences as it must; then every address in it is translated anew. */
function grantsStayRight(seed: number): void {
  const bench = new Bench(seed);
  const { mmu, random, access } = bench;
  bench.fillTables();
  let satp = 0n;
  // Roots 0 and 1 lead to the same tables in the kernel half, as they must for global pages; the user half has its own.
  for (const slot of SLOTS.filter((index) => index >= 256)) {
    const pointer = ((FIRST_PAGE + BigInt(2 + random.below(TABLES - 2))) << 10n) | BigInt(random.pick([1, 0x21]));
    bench.setEntry(0, slot, pointer);
    bench.setEntry(1, slot, pointer);
  }
  const switchTo = (asid: bigint): void => {
    satp = (8n << 60n) | (asid << 44n) | (FIRST_PAGE + (asid & 1n));
    mmu.setAddressSpace(true, Number(FIRST_PAGE + (asid & 1n)));
    mmu.tlb.dropAddressSpace();
  };
  switchTo(0n);
  mmu.tlb.dropAll();
  let asid = 0n;
  const touched = new Set<bigint>();
  for (let step = 0; step < GRANT_STEPS / 10; step++) {
    const address = bench.randomAddress();
    mmu.setMode(random.chance(2), random.chance(2), false);
    accessAtRandom(bench, access, address);
    touched.add(address & ~4095n);
    if (random.chance(10)) {
      // A new leaf in a third-level table: fence all addresses through it one by one, all of the space, or all.
      bench.setEntry(8 + random.below(TABLES - 8), random.pick(SLOTS), bench.randomEntry(0));
      if (random.chance(2)) for (const page of touched) mmu.tlb.dropPage(low(page), high(page));
      else mmu.tlb.dropAll();
    }
    if (random.chance(30)) {
      asid ^= 1n;
      switchTo(asid);
    }
    if (step % 20 === 0) expectGrantsAllowed(bench, satp, touched);
  }
}

function accessAtRandom({ random, mmu }: Bench, access: DataAccess, address: bigint): void {
  const [vaLow, vaHigh] = [low(address), high(address)];
  switch (random.below(4)) {
    case 0:
      access.store(vaLow, vaHigh, 8);
      break;
    case 1:
      access.load(vaLow, vaHigh, 8);
      break;
    case 2:
      access.secure(vaLow, vaHigh, 8 | (random.chance(2) ? ACCESS_WRITE : 0));
      break;
    default:
      if (mmu.resolve(vaLow, vaHigh, FETCH, true) === 0) {
        mmu.tlb.fillFetch(mmu.fetchTable, vaLow, vaHigh, mmu.frame, 0x1000, mmu.notes);
      }
  }
}

function expectGrantsAllowed(bench: Bench, satp: bigint, addresses: ReadonlySet<bigint>): void {
  const { tlb } = bench.mmu;
  const modes = [
    { table: TABLE_USER, fetchTable: TABLE_FETCH_USER, mode: 'U', sum: false },
    { table: TABLE_SUPERVISOR, fetchTable: TABLE_FETCH_SUPERVISOR, mode: 'S', sum: false },
    { table: TABLE_SUPERVISOR_SUM, fetchTable: TABLE_FETCH_SUPERVISOR, mode: 'S', sum: true },
  ] as const;
  for (const address of addresses) {
    for (const { table, fetchTable, mode, sum } of modes) {
      for (const [access, grants] of [
        ['load', table],
        ['store', table + 1],
        ['fetch', fetchTable],
      ] as const) {
        const frame = tlb.frameOf(grants, low(address), high(address));
        if (frame < 0) continue;
        // The entry as the guest left it, with A and D as the accesses set them.
        const memory = {
          read: (at: bigint) => readGuest(bench, at),
          write: () => expect.unreachable('a grant before A or D was set'),
        };
        const result = translate(memory, { satp, mode, sum, mxr: false, access, address });
        const told = `${access} ${mode} sum ${sum} ${address.toString(16)}`;
        if (result.kind !== 'physical') expect.unreachable(`${told}: ${result.kind}`);
        else expect(frame, told).toBe(bench.pages.frames[Number(result.address / 4096n - FIRST_PAGE)] || TEST_MAP.zeroFrame);
      }
    }
  }
}

function readGuest(bench: Bench, address: bigint): bigint | undefined {
  if (bench.memory.read(address) === undefined) return undefined;
  const at = Number(address);
  return (BigInt.asUintN(32, BigInt(bench.pages.get(at + 4))) << 32n) | BigInt.asUintN(32, BigInt(bench.pages.get(at)));
}
