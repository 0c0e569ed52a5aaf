/**
 * Plain reads and writes of guest memory, for loaders, the SBI and device rings. Each page goes the way of a guest's own access.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import type { Steps } from '../host-memory/steps.ts';
import type { GuestMemory } from './guest-memory.ts';
import { MUST_WAIT, NOT_RAM } from './page-entry.ts';
import { secureForWriteSteps } from './write-fault.ts';

export type AccessResult = 'ok' | 'wait' | 'fault';

/** Reads `into.length` bytes. What was read before a 'wait' or 'fault' is in `into` already. */
export function readBytes(guest: GuestMemory, address: number, into: Uint8Array): AccessResult {
  for (let done = 0; done < into.length; ) {
    const offset = (address + done) % PAGE_SIZE;
    const size = Math.min(PAGE_SIZE - offset, into.length - done);
    const frame = guest.frameForRead(Math.floor((address + done) / PAGE_SIZE));
    if (frame < 0) return frame === MUST_WAIT ? 'wait' : 'fault';
    const from = frame * PAGE_SIZE + offset;
    into.set(guest.host.bytes.subarray(from, from + size), done);
    done += size;
  }
  return 'ok';
}

/** Writes all bytes; a 'wait' or 'fault' may come after some pages were written, and writing again is right. */
export function* writeBytesSteps(guest: GuestMemory, address: number, bytes: Uint8Array): Steps<AccessResult> {
  for (let done = 0; done < bytes.length; ) {
    const offset = (address + done) % PAGE_SIZE;
    const size = Math.min(PAGE_SIZE - offset, bytes.length - done);
    const page = guest.ranges.pageOf(Math.floor((address + done) / PAGE_SIZE));
    if (page < 0) return 'fault';
    const frame = yield* secureForWriteSteps(guest, page);
    if (frame < 0) return frame === MUST_WAIT ? 'wait' : 'fault';
    yield 'write:bytes';
    guest.host.bytes.set(bytes.subarray(done, done + size), frame * PAGE_SIZE + offset);
    done += size;
  }
  return 'ok';
}

/** `size` bytes (1 to 8) little-endian as a number, NOT_RAM or MUST_WAIT. A 64-bit value that no double holds gives NOT_RAM. */
export function readNumber(guest: GuestMemory, address: number, size: number): number {
  let value = 0;
  let unit = 1;
  for (let i = 0; i < size; i++) {
    const frame = guest.frameForRead(Math.floor((address + i) / PAGE_SIZE));
    if (frame < 0) return frame;
    value += guest.host.bytes[frame * PAGE_SIZE + ((address + i) % PAGE_SIZE)] * unit;
    unit *= 256;
  }
  return value > Number.MAX_SAFE_INTEGER ? NOT_RAM : value;
}
