/** The platform of production: Node on Linux; on other systems memory is not given back, and all else is the same. */
import type { Platform } from '../platform.ts';
import { nowMs } from './clock.ts';
import { waitWhile, wake } from './futex.ts';
import { avoidHugePages, canReturnMemory, returnMemory } from './memory-return.ts';
import { randomBelow } from './random.ts';
import { residentBytesOfArena, residentBytesOfProcess } from './residency.ts';

export const nodePlatform: Platform = {
  get canReturnMemory() {
    return canReturnMemory();
  },
  returnMemory,
  avoidHugePages,
  residentBytesOfArena,
  residentBytesOfProcess,
  randomBelow,
  nowMs,
  waitWhile,
  wake,
};
