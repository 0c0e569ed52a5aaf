/**
 * Random operations on three guests in two domains, against a model that knows only what a guest may expect: each page's first word.
 * After every operation the whole invariant is audited.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Hold } from '../devices/guest-access.ts';
import { FILE_DOMAIN, type HostMemory } from '../host-memory/index.ts';
import { Auditor } from './audit.ts';
import { GrantBook, guestOf, PAGE, RAM, RAM_PAGE, silentSource, smallPool } from './test-guest.ts';

const PAGES = 24;
const FILE_PAGES = 4;

/** One guest and what the model thinks of it. */
class Subject {
  readonly host: HostMemory;
  readonly domain: number;
  tlb: GrantBook;
  values = new Map<number, number>();
  absent = new Map<number, Uint8Array>();
  holds: { hold: Hold; pages: number[]; write: boolean }[] = [];

  constructor(host: HostMemory, domain: number) {
    this.host = host;
    this.domain = domain;
    this.tlb = this.#boot();
  }

  #boot(): GrantBook {
    const source = { ...silentSource, forget: (gfn: number) => this.absent.delete(gfn - RAM_PAGE) };
    return new GrantBook(guestOf(this.host, { pages: 1024, domain: this.domain, source }));
  }

  get guest() {
    return this.tlb.guest;
  }

  isHeld(page: number): boolean {
    return this.holds.some(({ pages }) => pages.includes(page));
  }

  /** What the guest must see: 0 for what nobody wrote. */
  expected(page: number): number {
    return this.values.get(page) ?? 0;
  }

  releaseAll(): void {
    for (const { hold } of this.holds) hold.release();
    this.holds = [];
  }

  restart(): void {
    this.releaseAll();
    expect(this.guest.powerOff()).toBe('ok');
    this.values.clear();
    this.absent.clear();
    this.tlb = this.#boot();
  }
}

// Every other page lies in the second leaf.
const place = (page: number) => (page % 2) * 512 + page;

/** Pages of a list, in no order and some of them twice; the list has frames that are no memory, too. */
const pagesFrom = (page: number, value: number) => Array.from({ length: 1 + (value % 40) }, (_, i) => (page + i * 7) % PAGES);
const listOf = (pages: readonly number[]) => Uint32Array.from([5, ...pages.map((page) => RAM_PAGE + place(page)), 0xffff_ffff]);

type Operation = readonly [name: string, guest: number, page: number, value: number];

function apply(subject: Subject, [name, , page, value]: Operation, files: readonly number[]): void {
  const { guest, tlb } = subject;
  const gfn = RAM_PAGE + place(page);
  const held = subject.isHeld(page);
  switch (name) {
    case 'store':
      if (tlb.store(gfn, value)) subject.values.set(page, value);
      else expect(subject.absent.has(place(page))).toBe(true);
      break;
    case 'load':
    case 'fetch': {
      const frame = tlb.access(gfn, name === 'load' ? 'read' : 'fetch');
      if (frame < 0) expect(subject.absent.has(place(page))).toBe(true);
      else expect(guest.words[frame * 1024]).toBe(subject.expected(page));
      break;
    }
    case 'balloon':
    case 'deflate': {
      const list = pagesFrom(page, value);
      if (name === 'deflate') guest.deflate(listOf(list));
      else {
        const before = guest.memory().balloonedBytes / PAGE;
        expect(guest.balloon(listOf(list))).toBe(guest.memory().balloonedBytes / PAGE - before);
        for (const each of list) if (!subject.isHeld(each)) subject.values.delete(each);
      }
      break;
    }
    case 'discard':
      guest.discard(gfn * PAGE, PAGE * ((value % 30) + 1));
      for (let i = 0; i < PAGES; i++) {
        const inside = place(i) >= place(page) && place(i) < place(page) + (value % 30) + 1;
        if (inside && !subject.isHeld(i)) subject.values.delete(i);
      }
      break;
    case 'map':
      if (guest.mapFileBacked(gfn * PAGE, [files[value % FILE_PAGES]]) === 'ok') {
        expect(held).toBe(false);
        subject.values.set(page, 1000 + (value % FILE_PAGES));
      }
      break;
    case 'hold': {
      const write = value % 2 === 0;
      const second = (page + 1) % PAGES;
      const ranges = [page, second].map((p) => ({ address: RAM + place(p) * PAGE, length: 4, write }));
      const hold = guest.hold(ranges, () => {});
      if (typeof hold === 'string') expect([page, second].some((p) => subject.absent.has(place(p)))).toBe(true);
      else subject.holds.push({ hold, pages: [page, second], write });
      break;
    }
    case 'dma': {
      const open = subject.holds.find(({ write }) => write);
      if (!open) break;
      new DataView(open.hold.segments[0].buffer, open.hold.segments[0].byteOffset, 4).setInt32(0, value, true);
      subject.values.set(open.pages[0], value);
      break;
    }
    case 'release':
      subject.holds.shift()?.hold.release();
      break;
    case 'epoch':
      guest.advanceEpoch();
      break;
    case 'idle':
      guest.idle();
      break;
    case 'return':
      subject.host.returnFreeRuns(8);
      break;
    case 'park': {
      const bytes = new Uint8Array(PAGE);
      if (guest.read(gfn * PAGE, bytes) === 'ok' && guest.setAbsent(gfn, page)) subject.absent.set(place(page), bytes);
      break;
    }
    case 'bring': {
      const bytes = subject.absent.get(place(page));
      if (!bytes) break;
      expect(guest.bring(gfn, page, bytes)).toBe('ok');
      subject.absent.delete(place(page));
      break;
    }
    case 'reset':
      subject.releaseAll();
      expect(guest.reset()).toBe('ok');
      subject.values.clear();
      break;
    default:
      subject.restart();
  }
}

const NAMES = [
  ...['store', 'store', 'store', 'load', 'load', 'fetch', 'balloon', 'deflate', 'discard', 'map', 'map', 'hold', 'hold'],
  ...['dma', 'release', 'release', 'epoch', 'idle', 'return', 'park', 'bring', 'reset', 'restart'],
];

it('M11 M24 M28 M29 M31 M32: every guest sees what it wrote, and every frame is accounted for', () => {
  const operation = fc.tuple(fc.constantFrom(...NAMES), fc.nat(2), fc.nat(PAGES - 1), fc.nat(10_000));
  fc.assert(
    fc.property(fc.array(operation, { minLength: 20, maxLength: 200 }), (operations) => {
      const host = smallPool({ handyBatch: 4, poolBytes: 16 * 2 ** 20 });
      const files = host.allocateShared(FILE_DOMAIN, FILE_PAGES) ?? [];
      for (const [i, frame] of files.entries()) host.words[frame * 1024] = 1000 + i;
      const references = new Map<number, number>(files.map((frame) => [frame, 1]));
      const subjects = [new Subject(host, 0), new Subject(host, 0), new Subject(host, 1)];
      const auditor = new Auditor(host);
      for (const step of operations) {
        apply(subjects[step[1]], step, files);
        auditor.audit(
          subjects.map(({ tlb }) => tlb.audited),
          { references },
        );
      }
      for (const subject of subjects) {
        for (let page = 0; page < PAGES; page++) {
          if (subject.absent.has(place(page))) continue;
          const frame = subject.guest.frameForRead(RAM_PAGE + place(page));
          expect(subject.guest.words[frame * 1024]).toBe(subject.expected(page));
        }
        subject.releaseAll();
        expect(subject.guest.powerOff()).toBe('ok');
      }
      host.releaseMany(files);
      auditor.audit([], { bytes: true });
      expect(host.poolMemory()).toMatchObject({ framesInUse: 0, tableBytes: 0, promisedBytes: 0 });
    }),
    { numRuns: 25 },
  );
}, 60_000);
