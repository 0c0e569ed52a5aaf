/** What the tests of this folder share: a small pool, a guest, and a TLB that remembers its grants. Not shipped code. */
import type { TlbControl } from '../cpu/guest-pages.ts';
import { HostMemory, type HostMemoryOptions } from '../host-memory/index.ts';
import { simulatedPlatform } from '../platform/simulated/index.ts';
import type { PageSource } from './absent-pages.ts';
import type { AuditedGuest, GrantKind } from './audit.ts';
import { GuestMemory, type GuestMemoryOptions } from './guest-memory.ts';

export const RAM = 0x8000_0000;
export const RAM_PAGE = RAM / 4096;
export const PAGE = 4096;

/** Takes everything and brings nothing by itself. */
export const silentSource: PageSource = {
  request: () => {},
  serves: () => true,
  forget: () => {},
  cancel: () => {},
  retain: () => {},
  release: () => {},
};

export function smallPool(options: Partial<HostMemoryOptions> = {}): HostMemory {
  return HostMemory.create({
    poolBytes: 8 * 2 ** 20,
    threadCount: 1,
    decodeCacheBytes: 4096,
    vmCountMax: 8,
    breakReserve: 0,
    emergencyReserve: 0,
    platform: simulatedPlatform,
    ...options,
  });
}

export function guestOf(host: HostMemory, options: Partial<GuestMemoryOptions> & { pages?: number } = {}): GuestMemory {
  const { pages = 2048, ...rest } = options;
  return GuestMemory.create(host, { ranges: [{ address: RAM, bytes: pages * PAGE }], domain: 0, thread: 0, ...rest });
}

interface Grant {
  readonly gfn: number;
  readonly frame: number;
  readonly kind: GrantKind;
}

/** A TLB without tags and sizes: what was granted stays until it is dropped. */
export class GrantBook implements TlbControl {
  grants: Grant[] = [];
  readonly guest: GuestMemory;

  constructor(guest: GuestMemory) {
    this.guest = guest;
    guest.setTlb(this);
  }

  /** An access as the hart makes it: by a grant if there is one, else through the slow path, which leaves a grant. */
  access(gfn: number, kind: GrantKind): number {
    const hit = this.grants.find((grant) => grant.gfn === gfn && grant.kind === kind);
    if (hit) return hit.frame;
    const { guest } = this;
    const frame =
      kind === 'read' ? guest.frameForRead(gfn) : kind === 'write' ? guest.frameForWrite(gfn) : guest.frameForFetch(gfn);
    if (frame >= 0) this.grants.push({ gfn, frame, kind });
    return frame;
  }

  /** A guest's store of one word; false when it must wait. */
  store(gfn: number, value: number): boolean {
    const frame = this.access(gfn, 'write');
    if (frame < 0) return false;
    this.guest.words[frame * 1024] = value;
    return true;
  }

  load(gfn: number): number {
    const frame = this.access(gfn, 'read');
    return frame < 0 ? frame : this.guest.words[frame * 1024];
  }

  dropFrame(frame: number): void {
    this.grants = this.grants.filter((grant) => grant.frame !== frame);
  }
  dropFrameWrites(frame: number): void {
    this.grants = this.grants.filter((grant) => grant.frame !== frame || grant.kind !== 'write');
  }
  dropAllWrites(): void {
    this.grants = this.grants.filter((grant) => grant.kind !== 'write');
  }
  dropAll(): void {
    this.grants = [];
  }

  get audited(): AuditedGuest {
    return {
      guest: this.guest,
      busy: false,
      forEachGrant: (visit) => {
        for (const { gfn, frame, kind } of this.grants) visit(gfn, frame, kind);
      },
    };
  }
}
