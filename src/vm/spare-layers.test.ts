import { fstatSync } from 'node:fs';
import { expect, it } from 'vitest';
import { SpareLayers } from './spare-layers.ts';

const BYTES = 5 * 2 ** 20;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const isOpen = (file: number): boolean => {
  try {
    fstatSync(file);
    return true;
  } catch {
    return false;
  }
};

it('gives each layer to one, keeps what comes back, and lets go of all', async () => {
  const spares = new SpareLayers();
  const first = spares.take(BYTES);
  await turn();
  const others = [spares.take(BYTES), spares.take(BYTES)];
  expect(new Set([first, ...others].map(({ file }) => file)).size).toBe(3);
  for (const { file } of others) expect(fstatSync(file).size).toBe(BYTES);
  const [back, other] = others as [typeof first, typeof first];
  spares.giveBack(back);
  expect(spares.take(BYTES)).toBe(back);
  // The other two places are filled by then.
  await turn();
  spares.giveBack(other);
  expect(isOpen(other.file)).toBe(false);
  const spare = spares.take(BYTES);
  spares.giveBack(spare);
  spares.release();
  expect(isOpen(spare.file)).toBe(false);
  await turn();
  for (const { file } of [first, back]) expect(isOpen(file)).toBe(true);
  for (const layer of [first, back]) layer.close();
});
