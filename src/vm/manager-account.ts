/**
 * What the memory worker of a pool has done, as numbers that only grow. It publishes words (mod 2^32), and each VM's owner one more, which ends
 * with the VM; whoever reads now and then, as the main thread does, can add up what was new each time.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { VM_BREAKS, WORKER_COUNT_NAMES, WORKER_COUNTS } from '../host-memory/tables.ts';
import type { ManagerCounters } from './types.ts';

type CountName = (typeof WORKER_COUNT_NAMES)[number];

export class ManagerAccount {
  readonly #last = new Int32Array(WORKER_COUNT_NAMES.length);
  readonly #total = new Float64Array(WORKER_COUNT_NAMES.length);
  #lastBreaks = new Int32Array(0);
  #breaks = 0;

  /** Any number of times; often enough that no word goes round between two. */
  read(host: HostMemory): ManagerCounters {
    this.#readBreaks(host);
    const words = new Map<CountName, number>();
    for (const [i, name] of WORKER_COUNT_NAMES.entries()) {
      const word = Atomics.load(host.words, WORKER_COUNTS + i);
      words.set(name, word >>> 0);
      this.#total[i] += (word - this.#last[i]) >>> 0;
      this.#last[i] = word;
    }
    const total = (name: CountName): number => this.#total[WORKER_COUNT_NAMES.indexOf(name)];
    const gauge = (name: CountName): number => words.get(name) as number;
    return {
      scannedBytes: total('read') * PAGE_SIZE,
      comparedBytes: total('compared') * PAGE_SIZE,
      cpuMs: total('cpuMs'),
      mergedPages: total('merged'),
      zeroedPages: total('zeroed'),
      brokenMerges: this.#breaks,
      movedPages: total('moved'),
      droppedPages: total('dropped'),
      compressedPages: total('compressed'),
      swappedPages: total('swapped'),
      broughtPages: 0,
      refusedNominations: total('refused'),
      passes: total('passes'),
      storeBytes: gauge('storeBytes'),
      storeFrames: gauge('storeFrames'),
      swapBytes: gauge('swapBlocks') * PAGE_SIZE,
      swapCapacityBytes: gauge('swapCapacity') * PAGE_SIZE,
    };
  }

  #readBreaks(host: HostMemory): void {
    const count = host.map.vmCountMax;
    if (this.#lastBreaks.length !== count) this.#lastBreaks = new Int32Array(count);
    for (let vm = 0; vm < count; vm++) {
      const breaks = Atomics.load(host.words, host.vmEntry(vm) + VM_BREAKS);
      const before = this.#lastBreaks[vm];
      // Fewer than before: the slot is another VM's.
      this.#breaks += breaks >= before ? breaks - before : breaks;
      this.#lastBreaks[vm] = breaks;
    }
  }
}
