/**
 * Entry of the I/O thread: reads and writes files, straight from and to the frames of the arena, for all vCPU threads in turn.
 *
 * An operation that fails, whatever the reason, fails alone: its machine sees an I/O error, nobody else notices.
 */
import { fdatasyncSync, readvSync, writevSync } from 'node:fs';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/assert.ts';
import * as channel from './channel.ts';
import { fileCheck } from './file-check.ts';
import type { SnapshotReads } from './snapshot-reads.ts';

interface Ring {
  readonly words: Int32Array;
  readonly doorbell: Int32Array;
  readonly doorbellIndex: number;
}

assert(parentPort, 'the I/O thread is a worker');
const port = parentPort as unknown as MessagePort;
/** Loaded when the first snapshot is opened. */
let snapshots: SnapshotReads | undefined;

const channels = workerData as readonly channel.IoChannel[];
const memory = channels[0].memory;
const control = new Int32Array(channels[0].control);
const rings: Ring[] = channels.map(({ ring, doorbells, index }) => ({
  words: new Int32Array(ring),
  doorbell: new Int32Array(doorbells[index].buffer),
  doorbellIndex: doorbells[index].index,
}));

/** Views of the segments from byte `skip` on. */
function segmentViews(words: Int32Array, slot: number, skip: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  let left = skip;
  for (let i = 0; i < words[slot + channel.SLOT_COUNT]; i++) {
    const address = words[slot + channel.SLOT_SEGMENTS + 2 * i] >>> 0;
    const length = words[slot + channel.SLOT_SEGMENTS + 2 * i + 1];
    if (left >= length) {
      left -= length;
      continue;
    }
    views.push(new Uint8Array(memory.buffer, address + left, length - left));
    left = 0;
  }
  return views;
}

/** Goes on until all bytes moved. A read past the end of the file gives zeros. */
function transfer(words: Int32Array, slot: number, file: number, offset: number, write: boolean): void {
  for (let done = 0; ; ) {
    const views = segmentViews(words, slot, done);
    if (views.length === 0) return;
    const moved = write ? writevSync(file, views, offset + done) : readvSync(file, views, offset + done);
    done += moved;
    if (moved > 0) continue;
    if (write) throw new Error('a write moved nothing');
    for (const view of views) view.fill(0);
    return;
  }
}

function perform(words: Int32Array, slot: number): void {
  const file = words[slot + channel.SLOT_FILE];
  const offset = words[slot + channel.SLOT_OFFSET_HIGH] * 2 ** 32 + (words[slot + channel.SLOT_OFFSET_LOW] >>> 0);
  const kind = words[slot + channel.SLOT_KIND];
  if (file < 0) {
    assert(snapshots && kind === channel.KIND_READ, 'a snapshot that is not open is used');
    snapshots.read(file, offset, segmentViews(words, slot, 0));
    return;
  }
  if (kind === channel.KIND_FLUSH) {
    fdatasyncSync(file);
    return;
  }
  transfer(words, slot, file, offset, kind === channel.KIND_WRITE);
  const check = words[slot + channel.SLOT_CHECK];
  // Checked after the read: a change before or during it is found.
  if (check !== 0 && fileCheck(file) !== check) throw new Error('the file has changed');
}

/** Does the next operation of a ring. False when there is none. */
function serve(ring: Ring): boolean {
  const { words } = ring;
  const completed = words[channel.COMPLETED];
  if (Atomics.load(words, channel.SUBMITTED) === completed) return false;
  const slot = channel.SLOTS_START + (completed & (channel.SLOTS - 1)) * channel.SLOT_WORDS;
  let result: number = channel.RESULT_OK;
  try {
    perform(words, slot);
  } catch {
    result = channel.RESULT_FAILED;
  }
  words[slot + channel.SLOT_RESULT] = result;
  Atomics.add(words, channel.COMPLETED, 1);
  Atomics.notify(words, channel.COMPLETED);
  channel.ringDoorbell(ring.doorbell, ring.doorbellIndex);
  return true;
}

/** Rings those that lacked memory. Some time has passed since they said so. */
function ringStarved(): void {
  for (const { words, doorbell, doorbellIndex } of rings) {
    if (Atomics.exchange(words, channel.STARVED, 0) !== 0) channel.ringDoorbell(doorbell, doorbellIndex);
  }
}

/** When (ms) those that lack memory are rung; 0: nobody does. Whatever else wakes us does not make it sooner. */
let ringAt = 0;

/** Opens and closes snapshots. False: there is nothing to do. */
async function takeMessages(): Promise<boolean> {
  let taken = false;
  for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
    const message = next.message as channel.ToIo;
    snapshots ??= new (await import('./snapshot-reads.ts')).SnapshotReads();
    if (message.kind === 'close-snapshot') snapshots.close(message.file);
    else port.postMessage({ file: message.file, ...snapshots.open(message) } satisfies channel.FromIo);
    taken = true;
  }
  return taken;
}

port.postMessage('ready');
for (;;) {
  const seen = Atomics.load(control, channel.WORK);
  let worked = await takeMessages();
  for (const ring of rings) worked = serve(ring) || worked;
  if (worked) continue;
  if (Atomics.load(control, channel.STOP) !== 0) break;
  if (rings.some(({ words }) => Atomics.load(words, channel.STARVED) !== 0)) {
    const now = performance.now();
    if (ringAt === 0) ringAt = now + channel.STARVED_MS;
    if (now < ringAt) Atomics.wait(control, channel.WORK, seen, ringAt - now);
    else {
      ringAt = 0;
      ringStarved();
    }
  } else {
    Atomics.wait(control, channel.WORK, seen);
  }
}
