/**
 * What the memory worker of a pool has done, as numbers that only grow. It publishes words (mod 2^32), and each VM's owner two more, which are
 * added up when the VM ends; whoever reads now and then, as the main thread does, can add up what was new each time.
 */
import { PAGE_SIZE } from '../base/numbers.ts';
import type { HostMemory } from '../host-memory/index.ts';
import { ENDED_BREAKS, ENDED_BROUGHT, VM_BREAKS, VM_BROUGHT, WORKER_COUNT_NAMES, WORKER_COUNTS } from '../host-memory/tables.ts';
import type { ManagerCounters } from './types.ts';

type CountName = (typeof WORKER_COUNT_NAMES)[number];

export class ManagerAccount {
  readonly #last = new Int32Array(WORKER_COUNT_NAMES.length);
  readonly #total = new Float64Array(WORKER_COUNT_NAMES.length);
  readonly #breaks = new OwnersCount(VM_BREAKS, ENDED_BREAKS);
  readonly #brought = new OwnersCount(VM_BROUGHT, ENDED_BROUGHT);

  /** Any number of times; often enough that no word goes round between two. */
  read(host: HostMemory): ManagerCounters {
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
      fusionCpuMs: total('fusionCpuMs'),
      mergedPages: total('merged'),
      zeroedPages: total('zeroed'),
      brokenMerges: this.#breaks.read(host),
      movedPages: total('moved'),
      droppedPages: total('dropped'),
      balloonedPages: total('ballooned'),
      compressedPages: total('compressed'),
      swappedPages: total('swapped'),
      broughtPages: this.#brought.read(host),
      refusedNominations: total('refused'),
      passes: total('passes'),
      storeBytes: gauge('storeBytes'),
      storeFrames: gauge('storeFrames'),
      swapBytes: gauge('swapBlocks') * PAGE_SIZE,
      swapCapacityBytes: gauge('swapCapacity') * PAGE_SIZE,
    };
  }
}

/** What the owners of all VMs have counted, those that are gone included. */
class OwnersCount {
  readonly #wordOfVm: number;
  readonly #wordOfEnded: number;
  #last = 0;
  #total = 0;

  constructor(wordOfVm: number, wordOfEnded: number) {
    this.#wordOfVm = wordOfVm;
    this.#wordOfEnded = wordOfEnded;
  }

  read(host: HostMemory): number {
    let word = Atomics.load(host.words, this.#wordOfEnded);
    for (let vm = 0; vm < host.map.vmCountMax; vm++) word += Atomics.load(host.words, host.vmEntry(vm) + this.#wordOfVm);
    // Less than before: a VM's count is on its way to those of the ended ones.
    const more = (word - this.#last) | 0;
    if (more <= 0) return this.#total;
    this.#total += more;
    this.#last = word | 0;
    return this.#total;
  }
}
