/**
 * How much of what the second guest of an image needs translated had been translated for the first. Page fusion is off: there is no memory worker.
 *
 * A look-up is a place of a machine's code for which it needs a region: each (machine, content of the page, entry) once. Either the place grew hot,
 * and the library was asked; or the vCPU thread had the region already when the machine came to the page. A region counts as the first guest's
 * if it was made when that guest asked for it, or might soon have asked.
 *
 * With two vCPU threads the second guest's has no region at all, so all look-ups are questions. With one, most are not.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { openMachines } from '../../test/guests/machines.ts';
import type { Part } from '../part.ts';
import { SETTINGS } from './settings.ts';

/** The first guest has done then what its boot set going. */
const SETTLE_MS = 2000;

interface WarmStart {
  readonly threads: number;
  readonly questions: number;
  readonly answeredForFirst: number;
  readonly withoutQuestion: number;
  readonly share: number;
}

async function measure(threads: number): Promise<WarmStart> {
  await using machines = await openMachines({ memory: '512M', threads, translation: SETTINGS });
  const counters = () => machines.pool.translation() ?? fail();
  await machines.boot(1, '128M');
  await sleep(SETTLE_MS);
  const before = counters();
  await machines.boot(1, '128M');
  const after = counters();
  const questions = after.answered - before.answered;
  const answeredForFirst = after.known - before.known;
  const withoutQuestion = after.inherited - before.inherited;
  const share = (answeredForFirst + withoutQuestion) / (questions + withoutQuestion);
  return { threads, questions, answeredForFirst, withoutQuestion, share };
}

const fail = (): never => {
  throw new Error('this pool translates');
};

export const warmStart: Part = async () => {
  const two = await measure(2);
  const one = await measure(1);
  for (const { threads, ...counts } of [two, one])
    process.stderr.write(`warm start, ${threads} vCPU thread(s): ${JSON.stringify(counts)}\n`);
  return {
    checks: [
      { name: 'look-ups answered, second guest, other thread', value: two.share * 100, unit: '%', bar: 90, atMost: false },
      { name: 'look-ups answered, second guest, same thread', value: one.share * 100, unit: '%', bar: 90, atMost: false },
    ],
    details: { two, one },
  };
};
