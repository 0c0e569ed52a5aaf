/**
 * Admission, and each VM's account. What a VM may take is charged when it comes, against the pool times its over-commit factor.
 *
 * A VM's counters are changed by its owner alone, so the main thread reads them without a lock; all that spans VMs is
 * changed under "accounts".
 */
import { assert } from '../base/assert.ts';
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE, type VmIndex, vmIndex } from '../base/numbers.ts';
import { CHUNK_FRAMES } from '../layout/arena.ts';
import type { FrameAccount, VmAccount } from '../vm/types.ts';
import type { HostMemory } from './host-memory.ts';
import { LOCK_ACCOUNTS, LOCK_CHUNKS, lock, unlock } from './locks.ts';
import type { Steps } from './steps.ts';
import {
  BREAK_RESERVE,
  DOMAIN_MAX,
  EMERGENCY_RESERVE,
  ENDED_BREAKS,
  ENDED_BROUGHT,
  FRAMES_PEAK,
  FREE_FRAMES,
  PROMISE_LIMIT_PAGES,
  PROMISED_PAGES,
  RELEASING_FRAMES,
  SHARED_FRAMES,
  TABLES_IN_USE,
  VM_ABSENT,
  VM_ALIVE,
  VM_BALLOONED,
  VM_BREAKS,
  VM_BROUGHT,
  VM_CHARGED,
  VM_COUNT,
  VM_DOMAIN,
  VM_ENTRY_WORDS,
  VM_FREE,
  VM_HANDY,
  VM_LIFE,
  VM_PRIVATE,
  VM_PROMISED,
  VM_RETURNED,
  VM_ROM,
  VM_RUN_MS,
  VM_SHARED,
  VM_STATE,
  VM_SURPLUS_COUNT,
  VM_TABLES,
  VM_THREAD,
  VM_TICKET,
} from './tables.ts';
import { leaveQueue, wakeWaiters } from './waiters.ts';

const MIB = 2 ** 20;

export interface Admission {
  /** Pages of RAM the VM is promised. */
  readonly promisedPages: number;
  /** 0 to DOMAIN_MAX; frames never cross domains. */
  readonly domain: number;
  /** The vCPU thread that owns the VM: its doorbell rings when memory is there. */
  readonly thread: number;
}

const LIFE_MASK = 0x1f_ffff;

/** Which VM of all that ever had this slot is in it: the slot in the low 11 bits, and a count of lives. Any thread. */
export const lifeOf = (host: HostMemory, vm: number): number => vm | (Atomics.load(host.words, host.vmEntry(vm) + VM_LIFE) << 11);

/** @throws ShoalError 'no-memory' when the pool has promised all it may, or has no VM slot left. */
export function* admitSteps(host: HostMemory, admission: Admission): Steps<VmIndex> {
  const words = host.words;
  const { promisedPages, domain, thread } = admission;
  assert(domain >= 0 && domain <= DOMAIN_MAX, `a guest's domain is a number from 0 to ${DOMAIN_MAX}`);
  yield* lock(host, LOCK_ACCOUNTS);
  yield 'accounts:admit';
  const promised = words[PROMISED_PAGES];
  const limit = words[PROMISE_LIMIT_PAGES];
  let vm = -1;
  if (promised + promisedPages <= limit) {
    for (let i = 0; i < host.map.vmCountMax && vm < 0; i++) if (words[host.vmEntry(i) + VM_STATE] === VM_FREE) vm = i;
  }
  if (vm >= 0) {
    const entry = host.vmEntry(vm);
    const life = words[entry + VM_LIFE];
    words.fill(0, entry, entry + VM_ENTRY_WORDS);
    words[entry + VM_LIFE] = (life + 1) & LIFE_MASK;
    words[entry + VM_DOMAIN] = domain;
    words[entry + VM_PROMISED] = promisedPages;
    words[entry + VM_THREAD] = thread;
    Atomics.store(words, entry + VM_STATE, VM_ALIVE);
    Atomics.store(words, PROMISED_PAGES, promised + promisedPages);
    words[VM_COUNT]++;
  }
  unlock(host, LOCK_ACCOUNTS);
  if (vm >= 0) return vmIndex(vm);
  const wanted = Math.ceil((promisedPages * PAGE_SIZE) / MIB);
  if (promised + promisedPages > limit) {
    const left = Math.floor(((limit - promised) * PAGE_SIZE) / MIB);
    throw new ShoalError(
      'no-memory',
      `The pool cannot promise ${wanted} MiB more: ${left} MiB of its promise are left; remove a VM, or open a larger pool or a higher over-commit.`,
    );
  }
  throw new ShoalError('no-memory', `The pool has room for ${host.map.vmCountMax} VMs, and has that many; remove one first.`);
}

/** Closes the account of a VM that has nothing any more. Its slot may be another VM's at once. */
export function* dischargeSteps(host: HostMemory, vm: number): Steps<void> {
  const words = host.words;
  const entry = host.vmEntry(vm);
  assert(words[entry + VM_CHARGED] === 0, `VM ${vm} leaves with ${words[entry + VM_CHARGED]} frames charged`);
  yield* cancelWaitSteps(host, vm);
  yield* lock(host, LOCK_ACCOUNTS);
  yield 'accounts:discharge';
  Atomics.sub(words, PROMISED_PAGES, words[entry + VM_PROMISED]);
  words[VM_COUNT]--;
  // Taken off first: who adds both up without a lock may count too little for a moment, never twice.
  Atomics.add(words, ENDED_BREAKS, Atomics.exchange(words, entry + VM_BREAKS, 0));
  Atomics.add(words, ENDED_BROUGHT, Atomics.exchange(words, entry + VM_BROUGHT, 0));
  Atomics.store(words, entry + VM_STATE, VM_FREE);
  unlock(host, LOCK_ACCOUNTS);
}

/** The VM wants no memory any more; the next in line is told. */
export function* cancelWaitSteps(host: HostMemory, vm: number): Steps<void> {
  if (host.words[host.vmEntry(vm) + VM_TICKET] === 0) return;
  yield* lock(host, LOCK_ACCOUNTS);
  yield* lock(host, LOCK_CHUNKS);
  yield 'waiters:cancel';
  leaveQueue(host, vm);
  wakeWaiters(host);
  unlock(host, LOCK_CHUNKS);
  unlock(host, LOCK_ACCOUNTS);
}

/** Frames that new pages of guests never get: the chunks that hold the reserves. */
export function reservedFrames(host: HostMemory): number {
  return Math.ceil((host.words[BREAK_RESERVE] + host.words[EMERGENCY_RESERVE]) / CHUNK_FRAMES) * CHUNK_FRAMES;
}

/** What one VM has, by state. Any thread; each number is right by itself, the sum may be torn while the VM runs. */
export function memoryOfVm(host: HostMemory, vm: number): VmAccount {
  const entry = host.vmEntry(vm);
  const bytes = (word: number): number => Atomics.load(host.words, entry + word) * PAGE_SIZE;
  const [privateBytes, sharedBytes, balloonedBytes, absentBytes] = [VM_PRIVATE, VM_SHARED, VM_BALLOONED, VM_ABSENT].map(bytes);
  const promisedBytes = bytes(VM_PROMISED);
  return {
    promisedBytes,
    zeroBytes: Math.max(0, promisedBytes + bytes(VM_ROM) - privateBytes - sharedBytes - balloonedBytes - absentBytes),
    privateBytes,
    sharedBytes,
    balloonedBytes,
    absentBytes,
    handyBytes: bytes(VM_HANDY) + bytes(VM_SURPLUS_COUNT),
    tableBytes: bytes(VM_TABLES),
    returnedBytes: (Atomics.load(host.words, entry + VM_RETURNED) >>> 0) * PAGE_SIZE,
    cpuMs: Atomics.load(host.words, entry + VM_RUN_MS) >>> 0,
  };
}

/** What the pool has. Any thread, no lock. */
export function poolMemory(host: HostMemory): FrameAccount {
  const words = host.words;
  let privateFrames = 0;
  let handy = 0;
  for (let vm = 0; vm < host.map.vmCountMax; vm++) {
    const entry = host.vmEntry(vm);
    if (Atomics.load(words, entry + VM_STATE) === VM_FREE) continue;
    privateFrames += Atomics.load(words, entry + VM_PRIVATE);
    handy += Atomics.load(words, entry + VM_HANDY) + Atomics.load(words, entry + VM_SURPLUS_COUNT);
  }
  const free = Atomics.load(words, FREE_FRAMES) + Atomics.load(words, RELEASING_FRAMES);
  return {
    poolBytes: host.frameCount * PAGE_SIZE,
    promisedBytes: Atomics.load(words, PROMISED_PAGES) * PAGE_SIZE,
    framesInUse: host.frameCount - free,
    framesPeak: Atomics.load(words, FRAMES_PEAK),
    framesByState: { private: privateFrames, shared: Atomics.load(words, SHARED_FRAMES), handy, free },
    tableBytes: Atomics.load(words, TABLES_IN_USE) * PAGE_SIZE,
    residentBytes: host.platform.residentBytesOfProcess(),
  };
}
