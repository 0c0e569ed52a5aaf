import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLayer, type LayerFile } from '../disk/index.ts';
import type { MachineParts } from './forks.ts';
import { LayerMerges } from './layer-merges.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-merges-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const layer = (): LayerFile => createLayer(folder, 4096);
/** A machine with one disk, its layers from the top down. */
const machine = (...layers: LayerFile[]): MachineParts => {
  const [top, ...below] = layers;
  return { spec: { disks: [{ layer: top, below }] }, layers } as unknown as MachineParts;
};
const below = ({ spec }: MachineParts) => spec.disks[0]?.below;
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Merges of these machines; what was ordered is in `log`, by numbers of files. */
function merges(machines: MachineParts[], merge = async (): Promise<number | null> => null) {
  const log: (readonly [string, ...number[]])[] = [];
  const all: LayerMerges<MachineParts> = new LayerMerges({
    machines: () => machines,
    merge: (upper, lower) => {
      log.push(['merge', upper.file, lower.file]);
      return merge();
    },
    drop: (_, disk, upper) => {
      log.push(['drop', disk, upper.file]);
    },
  });
  return { all, log };
}

describe('sealed layers', () => {
  it('of one machine alone become one, from the lowest on', async () => {
    const layers = [layer(), layer(), layer(), layer()] as const;
    const [top, high, middle, low] = layers;
    const vm = machine(...layers);
    const { all, log } = merges([vm]);
    all.look();
    all.look();
    await turn();
    // The upper one is read still: nothing else is merged meanwhile.
    expect(log).toEqual([
      ['merge', middle.file, low.file],
      ['drop', 0, middle.file],
    ]);
    all.look();
    await turn();
    expect(log).toHaveLength(2);
    all.dropped();
    await turn();
    expect(log.slice(2)).toEqual([
      ['merge', high.file, low.file],
      ['drop', 0, high.file],
    ]);
    all.dropped();
    await turn();
    expect(log).toHaveLength(4);
    expect(below(vm)).toEqual([low]);
    expect(vm.layers).toEqual([top, low]);
  });

  it('that a fork has, too, stay until it is gone', async () => {
    const [top, high, low] = [layer(), layer(), layer()];
    const vm = machine(top, high, low);
    const { all, log } = merges([vm]);
    const shared = low.share();
    all.look();
    expect(log).toEqual([]);
    shared.close();
    all.look();
    await turn();
    expect(log).toHaveLength(2);
  });

  it('that cannot be copied stay, and are not tried again', async () => {
    const vm = machine(layer(), layer(), layer());
    const { all, log } = merges([vm], () => Promise.reject(new Error('full')));
    all.look();
    await turn();
    all.look();
    await turn();
    expect(log).toHaveLength(1);
    expect(below(vm)).toHaveLength(2);
  });

  it('of a machine that goes meanwhile are let go of', async () => {
    const machines = [machine(layer(), layer(), layer()), machine(layer(), layer(), layer())];
    const { all, log } = merges(machines);
    all.look();
    await turn();
    expect(log).toHaveLength(2);
    // Its thread will not answer any more.
    machines.shift();
    all.look();
    await turn();
    expect(log).toHaveLength(4);
    machines.shift();
    all.dropped();
    await turn();
    expect(log).toHaveLength(4);
  });
});
