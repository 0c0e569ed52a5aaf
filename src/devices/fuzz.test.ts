/**
 * Hostile guests: random register writes, random rings and descriptors, memory that changes while a device reads it, and pages
 * that come late. Whatever they do, nothing is thrown, nothing outside RAM is touched (TestMemory throws), no hold is left, and
 * the work is bounded.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RAM_BASE } from '../layout/machine.ts';
import type { DeviceState } from './device.ts';
import { Outbox } from './outbox.ts';
import { BalloonDevice } from './virtio/balloon/device.ts';
import { type BlockBackend, BlockDevice } from './virtio/block/device.ts';
import { ConsoleDevice } from './virtio/console/device.ts';
import type { VirtioDevice } from './virtio/device.ts';
import { VirtioMmio } from './virtio/mmio/device.ts';
import * as registers from './virtio/mmio/registers.ts';
import { RngDevice } from './virtio/rng/device.ts';
import { TestMemory } from './virtio/test-memory.ts';

/** Ring accesses that one register access may cause; a loop over a queue of 64 needs a few thousand. */
const ACCESSES_MAX = 200_000;
const RAM_BYTES = 256 * 1024;
const RING_SIZE = 4;

class CountingMemory extends TestMemory {
  accesses = 0;
  onAccess: () => void = () => {};

  override readU16(address: number): number {
    this.#count();
    return super.readU16(address);
  }

  override readU32(address: number): number {
    this.#count();
    return super.readU32(address);
  }

  #count(): void {
    this.onAccess();
    if (++this.accesses > ACCESSES_MAX) throw new Error('the device works without bound');
  }
}

/** A disk whose answers come when the test polls. */
class SlowDisk implements BlockBackend {
  readonly bytes = 64 * 1024;
  readonly id = 'fuzz';
  readonly readOnly: boolean;
  #pending: (() => void)[] = [];
  #loaded = new Set<number>();
  #loading = new Set<number>();
  references = 0;

  constructor(readOnly: boolean) {
    this.readOnly = readOnly;
  }

  inImage(page: number): boolean {
    return this.readOnly || page % 2 === 0;
  }

  acquire(page: number): number {
    if (page >= this.bytes / 4096) throw new Error('a page past the end');
    if (!this.#loaded.has(page)) {
      this.#loading.add(page);
      return page % 5 === 3 ? -2 : -1;
    }
    this.references++;
    return 1000 + page;
  }

  submit(): void {}

  release(): void {
    this.references--;
  }

  bytesOf(): Uint8Array {
    return new Uint8Array(4096);
  }

  read(offset: number, segments: readonly Uint8Array[], done: (ok: boolean) => void): void {
    this.#check(offset, segments);
    this.#pending.push(() => {
      for (const segment of segments) segment.fill(1);
      done(true);
    });
  }

  write(offset: number, segments: readonly Uint8Array[], done: (ok: boolean) => void): void {
    this.#check(offset, segments);
    this.#pending.push(() => done(offset % 1024 === 0));
  }

  flush(done: (ok: boolean) => void): void {
    this.#pending.push(() => done(true));
  }

  poll(): boolean {
    for (const page of this.#loading) this.#loaded.add(page);
    const came = this.#loading.size > 0 || this.#pending.length > 0;
    this.#loading.clear();
    for (const finish of this.#pending.splice(0)) finish();
    return came;
  }

  drain(): boolean {
    this.poll();
    return true;
  }

  #check(offset: number, segments: readonly Uint8Array[]): void {
    const length = segments.reduce((sum, segment) => sum + segment.length, 0);
    if (offset < 0 || offset + length > this.bytes) throw new Error('I/O past the end of the disk');
  }
}

const KINDS = ['console', 'rng', 'balloon', 'disk', 'read-only disk'] as const;
type Kind = (typeof KINDS)[number];

function makeDevice(kind: Kind, memory: TestMemory, room: () => boolean): { device: VirtioDevice; console?: ConsoleDevice } {
  const outbox = new Outbox();
  if (kind === 'rng') return { device: new RngDevice((bytes) => bytes.fill(0xab)) };
  if (kind === 'balloon') return { device: new BalloonDevice(memory) };
  if (kind !== 'console') return { device: new BlockDevice('disk', new SlowDisk(kind === 'read-only disk'), memory, outbox) };
  const console = new ConsoleDevice(
    {
      onOutput: () => room(),
      onPortReady: () => {},
      onGuestOpen: () => {},
      onInputWanted: (port) => void console.offerInput(port, new Uint8Array(100)),
    },
    outbox,
  );
  return { device: console, console };
}

type Step =
  | {
      readonly kind: 'request';
      readonly queue: number;
      readonly first: number;
      readonly buffers: readonly Buffer[];
      readonly content: readonly number[];
    }
  | { readonly kind: 'write'; readonly offset: number; readonly size: number; readonly value: number }
  | { readonly kind: 'descriptor'; readonly queue: number; readonly index: number; readonly word: number; readonly value: number }
  | { readonly kind: 'offer'; readonly queue: number; readonly head: number; readonly by: number }
  | { readonly kind: 'poll' | 'input' | 'pages' | 'save' };

interface Buffer {
  readonly address: number;
  readonly length: number;
}

/** Buffers lie behind the rings, so that a sound request stays sound. */
const DATA_AT = 6 * 4096;
const buffer = fc.record({
  address: fc.oneof(
    { weight: 9, arbitrary: fc.nat(RAM_BYTES - DATA_AT - 9000).map((offset) => RAM_BASE + DATA_AT + offset) },
    { weight: 4, arbitrary: fc.nat(30).map((page) => RAM_BASE + DATA_AT + 4096 * page) },
    { weight: 1, arbitrary: fc.constantFrom(0, RAM_BASE - 1, RAM_BASE + RAM_BYTES - 8, 0xffff_ffff) },
  ),
  length: fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom(1, 8, 10, 16, 20, 512, 1024, 4096, 8192) },
    { weight: 2, arbitrary: fc.nat(9000) },
    { weight: 1, arbitrary: fc.constantFrom(0, 0xffff_ffff) },
  ),
});

/** A chain as a driver would build it: `content` goes into its first buffer (disk header, control message, page numbers). */
const request = fc.record({
  kind: fc.constant('request' as const),
  queue: fc.nat(5),
  first: fc.nat(3),
  buffers: fc.array(buffer, { minLength: 1, maxLength: 4 }),
  content: fc.tuple(
    fc.constantFrom(0, 0, 1, 1, 4, 8, 2, 0xffff_ffff, RAM_BASE / 4096 + 9),
    fc.oneof(
      fc.tuple(fc.nat(7), fc.nat(1)).map(([event, value]) => event | (value << 16)),
      fc.nat(0xffff_ffff),
    ),
    fc.oneof({ weight: 9, arbitrary: fc.nat(140) }, fc.nat(0xffff_ffff)),
    fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.nat(0xffff_ffff)),
  ),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: request },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      offset: fc.oneof({ weight: 8, arbitrary: fc.nat(0x43).map((n) => 4 * n) }, fc.nat(0xfff)),
      size: fc.constantFrom(4, 4, 4, 1, 2),
      value: fc.oneof(fc.constantFrom(0, 1, 3, 4, 11, 15), fc.nat(0xffff_ffff)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('descriptor' as const),
      queue: fc.nat(5),
      index: fc.nat(3),
      word: fc.nat(3),
      value: fc.oneof(
        fc.nat(0xffff_ffff),
        fc.nat(7).map((bits) => bits | 0x10000),
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('offer' as const),
      queue: fc.nat(5),
      head: fc.nat(5),
      by: fc.constantFrom(1, 1, 1, 2, 0, 70),
    }),
  },
  { weight: 6, arbitrary: fc.constantFrom<Step>({ kind: 'poll' }, { kind: 'input' }, { kind: 'pages' }, { kind: 'save' }) },
);

/** Rings of queue n lie in page n of RAM: descriptors, available at 1024, used at 2048. */
const ringAt = (queue: number): number => RAM_BASE + 4096 * queue;

function initialise(transport: VirtioMmio, memory: TestMemory): void {
  memory.bytes.fill(0, 0, DATA_AT);
  const write = (offset: number, value: number): void => transport.write(offset, 4, value >>> 0);
  for (const status of [0, 1, 3]) write(registers.STATUS, status);
  write(registers.DRIVER_FEATURES_SELECT, 0);
  write(registers.DRIVER_FEATURES, transport.read(registers.DEVICE_FEATURES, 4));
  write(registers.DRIVER_FEATURES_SELECT, 1);
  write(registers.DRIVER_FEATURES, 1);
  write(registers.STATUS, 11);
  for (const queue of transport.queues.slice(0, 6)) {
    write(registers.QUEUE_SELECT, queue.index);
    write(registers.QUEUE_SIZE, RING_SIZE);
    write(registers.QUEUE_DESCRIPTORS_LOW, ringAt(queue.index));
    write(registers.QUEUE_AVAILABLE_LOW, ringAt(queue.index) + 1024);
    write(registers.QUEUE_USED_LOW, ringAt(queue.index) + 2048);
    write(registers.QUEUE_READY, 1);
  }
  write(registers.STATUS, 15);
}

/** Half of the buffers are readable, the first ones; a queue from host to guest gets writable ones only. */
function putRequest(step: Extract<Step, { kind: 'request' }>, transport: VirtioMmio, memory: TestMemory): void {
  const view = memory.view;
  const fromHost = transport.name === 'rng' || (transport.name === 'console' && step.queue % 2 === 0) || step.queue === 3;
  const readable = fromHost ? 0 : Math.ceil(step.buffers.length / 2);
  for (const [i, { address, length }] of step.buffers.entries()) {
    const at = 4096 * step.queue + 16 * ((step.first + i) % RING_SIZE);
    const next = i + 1 < step.buffers.length;
    view.setUint32(at, address, true);
    view.setUint32(at + 4, 0, true);
    view.setUint32(at + 8, i === 0 && readable > 0 && transport.name.startsWith('disk') ? 16 : length, true);
    view.setUint32(at + 12, (next ? 1 : 0) | (i < readable ? 0 : 2) | (((step.first + i + 1) % RING_SIZE) << 16), true);
  }
  const content = step.buffers[0].address - RAM_BASE;
  if (content >= 0 && content + 16 <= RAM_BYTES)
    for (const [i, word] of step.content.entries()) view.setUint32(content + 4 * i, word, true);
  offer(step.queue, step.first, 1, transport, memory);
}

function offer(queue: number, head: number, by: number, transport: VirtioMmio, memory: TestMemory): void {
  const available = 4096 * queue + 1024;
  const index = memory.view.getUint16(available + 2, true);
  memory.view.setUint16(available + 4 + 2 * (index % RING_SIZE), head, true);
  memory.view.setUint16(available + 2, index + by, true);
  transport.write(registers.QUEUE_NOTIFY, 4, queue);
}

function perform(
  step: Step,
  transport: VirtioMmio,
  memory: TestMemory,
  console: ConsoleDevice | undefined,
): DeviceState | undefined {
  switch (step.kind) {
    case 'request':
      putRequest(step, transport, memory);
      break;
    case 'write':
      transport.read(step.offset, step.size);
      transport.write(step.offset, step.size, step.value);
      break;
    case 'descriptor':
      memory.view.setUint32(4096 * step.queue + 16 * step.index + 4 * step.word, step.value, true);
      break;
    case 'offer':
      offer(step.queue, step.head, step.by, transport, memory);
      break;
    case 'poll':
      transport.poll();
      break;
    case 'input':
      console?.addPort(1, 'port');
      console?.setHostOpen(1, true);
      console?.offerInput(0, new Uint8Array(5000));
      console?.offerInput(1, new Uint8Array(100));
      console?.endInput(1);
      console?.resizeConsole(80, 25);
      break;
    case 'pages':
      memory.pagesCame();
      break;
    case 'save':
      return structuredClone(transport.save());
  }
  return undefined;
}

const answeredBy = (transport: VirtioMmio): number => transport.queues.reduce((sum, queue) => sum + queue.save()[6], 0);

test.each(KINDS)('%s survives anything a guest does', (kind) => {
  let failures = 0;
  let answered = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), fc.infiniteStream(fc.nat(0xffff)), (steps, chance) => {
      const memory = new CountingMemory(new Uint8Array(RAM_BYTES));
      const next = (): number => chance.next().value;
      const { device, console } = makeDevice(kind, memory, () => next() % 3 !== 0);
      const transport = new VirtioMmio(device, memory, { set: () => {} });
      initialise(transport, memory);
      // Now and then a page must wait, and now and then the guest writes into its rings while the device reads.
      memory.mustWait = () => next() % 64 === 0;
      memory.onAccess = () => {
        if (next() % 256 === 0) memory.view.setUint16(2 * (next() % (DATA_AT / 2)), next(), true);
      };
      for (const step of steps) {
        memory.accesses = 0;
        const saved = perform(step, transport, memory, console);
        if (saved !== undefined && memory.holds === 0) transport.restore(saved);
        if (transport.running) continue;
        if (transport.failure !== '') failures++;
        answered += answeredBy(transport);
        initialise(transport, memory);
      }
      answered += answeredBy(transport);
      memory.mustWait = () => false;
      memory.onAccess = () => {};
      transport.reset();
      expect(memory.holds).toBe(0);
      // And it is a sound device again.
      initialise(transport, memory);
      expect(transport.running).toBe(true);
    }),
    { numRuns: 300 },
  );
  // The fuzzer must have got answers and found rules to break, or it tests nothing.
  expect(failures).toBeGreaterThan(100);
  expect(answered).toBeGreaterThan(300);
});
