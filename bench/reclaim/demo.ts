/** The guests of `shoal demo`: eight of them settle at little, sixteen do their work in a pool of 192 MiB without swap. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type DemoModel, newModel } from '../../src/cli/demo/model.ts';
import { allWell, makeReport } from '../../src/cli/demo/report.ts';
import { runScenario } from '../../src/cli/demo/scenario.ts';
import { Host } from '../../src/host/index.ts';
import { resolveImage } from '../../src/images/index.ts';
import { managerCounters } from '../memory-worker.ts';
import type { Part } from '../part.ts';

const IMAGE = 'debian-mini';
const MEMORY_BYTES = 256 * 2 ** 20;
const SETTLE_MS = 30_000;
/** Sixteen guests have so long. */
const CROWD_TIMEOUT_MS = Number(process.env.CROWD_TIMEOUT_MS ?? 180_000);
const PAGE = 4096;
const MIB = 2 ** 20;

/** Plays the demo to its end, or until the time is over. Gives the seconds. */
async function play(host: Host, model: DemoModel, timeoutMs: number): Promise<number> {
  const { busyboxSha256 } = await resolveImage(IMAGE);
  const timeout = new AbortController();
  const emit = (event: string): void => void process.stderr.write(`  ${event}\n`);
  const options = { image: IMAGE, memoryBytes: MEMORY_BYTES, busyboxSha256, signal: timeout.signal, emit };
  const start = performance.now();
  const played = runScenario(host, model, options).catch((error: unknown) => emit(`the demo failed: ${error}`));
  await Promise.race([played, sleep(timeoutMs, undefined, { ref: false })]);
  timeout.abort();
  return (performance.now() - start) / 1000;
}

export const demoSettles: Part = async () => {
  const host = await Host.open({ memory: '1G', templates: false });
  try {
    const model = newModel(8);
    await play(host, model, CROWD_TIMEOUT_MS);
    await sleep(SETTLE_MS);
    const { framesInUse, framesByState } = await host.memory();
    const well = allWell(makeReport(model, await host.memory()));
    process.stderr.write(`demo: ${JSON.stringify({ framesInUse, framesByState, manager: await managerCounters(host) })}\n`);
    return {
      checks: [
        {
          name: 'demo: frames 30 s after its last command',
          value: (framesInUse * PAGE) / MIB,
          unit: 'MiB',
          bar: 96,
          atMost: true,
        },
        { name: 'demo: all commands right', value: Number(well), unit: '', bar: 1, atMost: false },
      ],
      details: { framesInUse, framesByState },
    };
  } finally {
    await host.close();
  }
};

export const demoCrowd: Part = async () => {
  const host = await Host.open({ memory: '192M', templates: false });
  try {
    const model = newModel(16);
    const seconds = await play(host, model, CROWD_TIMEOUT_MS);
    const { commandsOk, checksumsOk } = makeReport(model, await host.memory());
    const phases = model.guests.map(({ phase }) => phase).join(' ');
    process.stderr.write(
      `crowd: ${commandsOk} of 16 in ${seconds.toFixed(0)} s (${phases}); ${JSON.stringify(await managerCounters(host))}\n`,
    );
    return {
      checks: [
        {
          name: 'crowd: guests that did their work in 192 MiB',
          value: Math.min(commandsOk, checksumsOk),
          unit: 'of 16',
          bar: 16,
          atMost: false,
        },
        { name: 'crowd: time', value: seconds, unit: 's', bar: CROWD_TIMEOUT_MS / 1000, atMost: true },
      ],
      details: { commandsOk, checksumsOk, seconds, phases },
    };
  } finally {
    await host.close();
  }
};
