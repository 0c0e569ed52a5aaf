/** Rule M78: shared frames of a sparse chunk move, pages of images among them, and one that is being read does not. */
import { expect, it } from 'vitest';
import type { SharedImage } from '../disk/index.ts';
import { frameWord, generationWord, tableBytes } from '../disk/shared-image.ts';
import { PAGE, RAM, smallPool } from '../guest-memory/test-guest.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { TestOwners } from '../vm/test-owners.ts';
import { SharedCompaction } from './shared-compaction.ts';

const PAGES = 8;
const FIRST_NUMBER = 100;

function imageOf(): { image: SharedImage; words: Int32Array } {
  const table = new SharedArrayBuffer(tableBytes(PAGES * PAGE));
  const image = { id: 1, bytes: PAGES * PAGE, table, firstNumber: FIRST_NUMBER, domain: 0 } as unknown as SharedImage;
  return { image, words: new Int32Array(table) };
}

/** Two chunks of shared frames of domain 0: one nearly full, and one with `count` frames, which are returned. */
function twoChunks(host: HostMemory, count: number): { frames: number[]; others: number[] } {
  const all = [...(host.allocateShared(0, 512) ?? []), ...(host.allocateShared(0, count) ?? [])];
  const sizes = new Map<number, number[]>();
  for (const frame of all) sizes.set(host.chunkOf(frame), [...(sizes.get(host.chunkOf(frame)) ?? []), frame]);
  const [full = [], frames = []] = [...sizes.values()].sort((a, b) => b.length - a.length);
  const others = full.slice(2 * count);
  host.releaseMany(full.slice(0, 2 * count));
  return { frames, others };
}

/** The page has been read whole: as the page cache says it. */
function loaded(host: HostMemory, words: Int32Array, page: number, frame: number): void {
  host.words.fill(1000 + page, frame * 1024, (frame + 1) * 1024);
  host.markImagePage(frame, FIRST_NUMBER + page);
  words[generationWord(page)] = host.sharedGeneration(frame);
  words[frameWord(page)] = frame;
}

it('M78: pages of images move with all their views, and the table of the image follows', () => {
  const host = smallPool();
  const owners = new TestOwners(host);
  const vm = owners.add();
  const { image, words } = imageOf();
  const { frames, others } = twoChunks(host, PAGES);
  for (const [page, frame] of frames.entries()) {
    loaded(host, words, page, frame);
    host.retainHeld(frame);
    vm.guest.mapShared(RAM + page * PAGE, frame);
  }
  vm.guest.advanceEpoch();
  const old = host.chunkOf(frames[0] as number);
  const compaction = new SharedCompaction(host, owners.nominator, { images: () => [image], copied: () => {} });
  expect(compaction.evacuate(old, 0)).toBe(PAGES);
  const now = frames.map((_, page) => words[frameWord(page)] as number);
  for (const [page, frame] of now.entries()) {
    expect(host.chunkOf(frame)).not.toBe(old);
    expect([host.imagePageOf(frame), host.references(frame), vm.first(page)]).toEqual([FIRST_NUMBER + page, 2, 1000 + page]);
    expect(host.references(frames[page] as number)).toBe(0);
  }
  owners.audit([...others, ...now]);
});

it('M78: a page that is read whole only while it is copied stays where it is', () => {
  const host = smallPool();
  const owners = new TestOwners(host);
  const { image, words } = imageOf();
  const { frames, others } = twoChunks(host, 1);
  const [frame = 0] = frames;
  host.words.fill(0, frame * 1024, (frame + 1) * 1024);
  const { kernels } = host;
  Object.assign(host, {
    kernels: {
      ...kernels,
      copyFrame: (to: number, from: number) => {
        kernels.copyFrame(to, from);
        loaded(host, words, 0, frame);
      },
    },
  });
  new SharedCompaction(host, owners.nominator, { images: () => [image], copied: () => {} }).evacuate(host.chunkOf(frame), 0);
  const now = words[frameWord(0)] as number;
  expect([now, host.words[now * 1024]]).toEqual([frame, 1000]);
  owners.audit([...others, frame]);
});
