import { expect, it } from 'vitest';
import { type Frozen, PoolSnapshots } from './pool-snapshots.ts';
import type { Saved, SaveOrder } from './snapshot-thread/messages.ts';
import type { SnapshotThread } from './snapshot-thread/thread.ts';
import type { PoolVm } from './vm-handle.ts';

/** Saves that end when the test says so. */
function snapshots() {
  const orders: { readonly order: SaveOrder; readonly end: (id: string) => Promise<void> }[] = [];
  const save = (order: SaveOrder): Promise<Saved> =>
    new Promise((resolve) => {
      const end = async (id: string): Promise<void> => {
        resolve({ id, storedPages: 1, addedBytes: 1 });
        await new Promise(setImmediate);
      };
      orders.push({ order, end });
    });
  const all = new PoolSnapshots({ save } as unknown as SnapshotThread);
  const begin = (life: number, epoch: number, folder = 'store') => {
    const frozen = { machine: {}, life, epoch, pausedMs: 0, remove: async () => {} } as unknown as Frozen;
    void all.save(1, frozen, { folder, name: 'x' });
    return orders.at(-1) as (typeof orders)[0];
  };
  return { all, begin };
}

it('M84: a save differs from the one before, if that was cut before, in the same life and store', async () => {
  const { all, begin } = snapshots();
  const first = begin(7, 10);
  expect(first.order).toMatchObject({ parent: null, since: null });
  await first.end('first');
  // Two at once; the one that was cut last is written first.
  const [late, early] = [begin(7, 14), begin(7, 12)];
  for (const { order } of [late, early]) expect(order).toMatchObject({ parent: 'first', since: 10 });
  await late.end('late');
  expect(begin(7, 13).order).toMatchObject({ parent: 'late', since: null });
  await early.end('early');
  expect(begin(7, 15).order).toMatchObject({ parent: 'early', since: 12 });
  expect(begin(8, 15).order).toMatchObject({ parent: 'early', since: null });
  expect(begin(7, 15, 'elsewhere').order).toMatchObject({ parent: null, since: null });
  all.restored(1, { life: 9 } as PoolVm, { folder: 'store', opened: { id: 'whence' } } as never);
  expect(begin(9, 3).order).toMatchObject({ parent: 'whence', since: 1 });
});
