import { beforeEach, expect, test } from 'vitest';
import { Outbox } from '../../outbox.ts';
import * as mmio from '../mmio/registers.ts';
import { type Buffer, TestDriver } from '../test-driver.ts';
import { TestMemory } from '../test-memory.ts';
import { type BlockBackend, PAGE_LOADING } from './backend.ts';
import { BlockDevice } from './device.ts';
import * as registers from './registers.ts';
import { cutPieces } from './request.ts';

/** A disk of four pages whose page n is full of n + 1. Even pages are the image's, odd ones the layer's. */
class TestDisk implements BlockBackend {
  readonly bytes = 4 * 4096;
  readonly readOnly = false;
  readonly id = 'serial';
  readonly log: string[] = [];
  readonly resident = new Set<number>();
  #finish: (() => void)[] = [];

  inImage(page: number): boolean {
    return page % 2 === 0;
  }

  acquire(page: number): number {
    if (this.resident.has(page)) return 100 + page;
    this.log.push(`load ${page}`);
    return PAGE_LOADING;
  }

  submit(): void {}

  release(frame: number): void {
    this.log.push(`release ${frame - 100}`);
  }

  bytesOf(frame: number): Uint8Array {
    return new Uint8Array(4096).fill(frame - 99);
  }

  read(offset: number, segments: readonly Uint8Array[], done: (ok: boolean) => void): void {
    this.log.push(`read ${offset} in ${segments.length}`);
    this.#finish.push(() => {
      for (const segment of segments) segment.fill(Math.floor(offset / 4096) + 1);
      done(true);
    });
  }

  write(offset: number, segments: readonly Uint8Array[], done: (ok: boolean) => void): void {
    this.log.push(`write ${offset}: ${segments.map((segment) => `${segment[0]}×${segment.length}`).join(' ')}`);
    this.#finish.push(() => done(true));
  }

  flush(done: (ok: boolean) => void): void {
    this.log.push('flush');
    this.#finish.push(() => done(true));
  }

  poll(): boolean {
    for (const line of this.log) if (line.startsWith('load')) this.resident.add(Number(line.slice(5)));
    for (const finish of this.#finish.splice(0)) finish();
    return true;
  }

  drain(): boolean {
    return this.poll();
  }
}

let disk: TestDisk;
let memory: TestMemory;
let device: BlockDevice;
let guest: TestDriver;

beforeEach(() => {
  disk = new TestDisk();
  memory = new TestMemory();
  memory.frameBytes = (frame) => disk.bytesOf(frame);
  device = new BlockDevice('disk0', disk, memory, new Outbox());
  guest = new TestDriver(device, memory);
  guest.start();
});

const page = (n: number): number => guest.data + 4096 * n;
const readable = (address: number, length: number): Buffer => ({ address, length, writable: false });
const writable = (address: number, length: number): Buffer => ({ address, length, writable: true });

function header(type: number, sector: number): Buffer {
  memory.view.setUint32(guest.data - memory.base, type, true);
  memory.view.setBigUint64(guest.data - memory.base + 8, BigInt(sector), true);
  return readable(guest.data, 16);
}

/** Puts a request into the ring and polls until its answer; the status. */
function request(buffers: readonly Buffer[], polls = 4): number | undefined {
  const last = buffers[buffers.length - 1];
  memory.at(last.address + last.length - 1, 1)[0] = 0xff;
  let used = guest.request(0, buffers);
  for (let i = 0; i < polls && used.length === 0; i++) {
    guest.transport.poll();
    used = guest.queues[0].takeUsed();
  }
  return used.length === 0 ? undefined : memory.at(last.address + last.length - 1, 1)[0];
}

test('the configuration space tells size, segments and block size', () => {
  expect(guest.read(mmio.CONFIG)).toBe(32);
  expect(guest.read(mmio.CONFIG + registers.CONFIG_SEGMENTS_MAX)).toBe(registers.SEGMENTS_MAX);
  expect(guest.read(mmio.CONFIG + registers.CONFIG_BLOCK_SIZE)).toBe(512);
});

test('a read takes each page from where it is, layer pages in one operation', () => {
  const data = [writable(page(1), 4096), writable(page(2), 2048), writable(page(3), 2048)];
  expect(request([header(registers.TYPE_IN, 0), ...data, writable(guest.data + 16, 1)])).toBe(0);
  expect(disk.log).toEqual(['load 0', 'read 4096 in 2']);
  expect(memory.mapped).toEqual(new Map([[page(1), 100]]));
  expect([1, 2, 3].map((n) => memory.at(page(n), 1)[0])).toEqual([1, 2, 2]);
  expect(memory.holds).toBe(0);
});

test('header, data and status may be cut anywhere', () => {
  memory.view.setUint32(page(1) - 4 - memory.base, registers.TYPE_OUT, true);
  memory.at(page(1), 4).fill(0);
  memory.view.setUint32(page(5) - memory.base, 8, true);
  memory.at(page(5) + 4, 4).fill(0);
  memory.at(page(5) + 8, 1000).fill(7);
  memory.at(page(6), 24).fill(9);
  const buffers = [readable(page(1) - 4, 8), readable(page(5), 1008), readable(page(6), 24), writable(page(7), 1)];
  expect(request(buffers)).toBe(0);
  expect(disk.log).toEqual(['write 4096: 7×1000 9×24']);
  // The last writable byte is the status, wherever it is.
  expect(request([header(registers.TYPE_IN, 8), writable(page(8), 100), writable(page(9), 413)])).toBe(0);
  expect([memory.at(page(8), 1)[0], memory.at(page(9) + 411, 1)[0]]).toEqual([2, 2]);
});

test('the serial number, also when the guest asks for little of it', () => {
  expect(request([header(registers.TYPE_GET_ID, 0), writable(page(1), 20), writable(guest.data + 16, 1)])).toBe(0);
  expect(String.fromCharCode(...memory.at(page(1), 8))).toBe('serial\0\0');
  expect(request([header(registers.TYPE_GET_ID, 0), writable(page(2), 3), writable(guest.data + 16, 1)])).toBe(0);
  expect(String.fromCharCode(...memory.at(page(2), 4))).toBe('ser\0');
  expect(request([header(registers.TYPE_GET_ID, 0), writable(guest.data + 16, 1)])).toBe(0);
});

test('a flush is passed on and answered when it is done', () => {
  expect(request([header(registers.TYPE_FLUSH, 0), writable(guest.data + 16, 1)], 0)).toBeUndefined();
  expect(disk.log).toEqual(['flush']);
  guest.transport.poll();
  expect(guest.queues[0].takeUsed()).toHaveLength(1);
});

test('a request without header or status, or with data outside RAM, breaks the device', () => {
  const malformed: (() => Buffer[])[] = [
    () => [readable(guest.data, 15), writable(page(1), 1)],
    () => [header(registers.TYPE_IN, 0)],
    () => [header(registers.TYPE_OUT, 8), readable(16, 512), writable(page(1), 1)],
    () => [header(registers.TYPE_IN, 8), writable(16, 512), writable(page(1), 1)],
    () => [header(registers.TYPE_IN, 0), writable(0, 4096), writable(page(1), 1)],
  ];
  for (const buffers of malformed) {
    guest.start();
    request(buffers());
    expect(guest.transport.failure).toMatch(/disk0|queue 0/);
    expect(guest.needsReset).toBe(true);
    guest.transport.reset();
    expect(memory.holds).toBe(0);
  }
});

test('data pages that must wait: the request goes on when they came', () => {
  guest.queues[0].add([header(registers.TYPE_IN, 8), writable(page(1), 512), writable(guest.data + 16, 1)]);
  let accesses = 0;
  // Fourteen ring fields, then the holds of header and status; the next access is the hold of the data.
  memory.mustWait = () => ++accesses > 16;
  guest.notify(0);
  memory.mustWait = () => false;
  expect(device.requestsInFlight).toBe(1);
  guest.transport.poll();
  memory.pagesCame();
  for (let i = 0; i < 3; i++) guest.transport.poll();
  expect(guest.queues[0].takeUsed()).toEqual([{ head: 0, length: 513 }]);
});

test('pieces end at page ends of guest and disk', () => {
  const pieces = cutPieces([{ address: 4000, length: 5000, write: true }], 1000);
  expect(pieces).toEqual([
    { address: 4000, length: 96, offset: 1000 },
    { address: 4096, length: 3000, offset: 1096 },
    { address: 7096, length: 1096, offset: 4096 },
    { address: 8192, length: 808, offset: 5192 },
  ]);
});
