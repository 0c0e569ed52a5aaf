/** What real guests execute: hot pages by tier, exits, and profiles that end before their time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Vm } from '../../src/host/index.ts';
import { openMachines, until } from './machines.ts';

const translation = { threshold: 4, bytesMax: 16 * 2 ** 20 };
/** Nothing but awk, until the guest is gone. */
const keepBusy = async (vm: Vm): Promise<void> =>
  void (await vm.exec('while :; do awk "BEGIN { while (i < 5000000) s += i++ }"; done', { detached: true }).started);

describe.each([true, false])('a busy guest, translated: %s', (translated) => {
  it('is busy in few pages of user mode, run as is said', { timeout: 120_000 }, async () => {
    await using machines = await openMachines({ memory: '256M', threads: 1, translation: translated ? translation : null });
    const [vm] = await machines.boot(1, '128M');
    await keepBusy(vm);
    await sleep(3000);
    const { durationMs, ranMs, instructions, samples, pages, exits, calls, ...rest } = await vm.profile({ seconds: 1 });
    expect(durationMs).toBeGreaterThan(900);
    expect(ranMs).toBeLessThan(durationMs * 1.1);
    expect(instructions).toBeGreaterThan(1_000_000);
    // One in 20,000, and somewhat more where samples end with something else.
    expect(samples / (instructions / 20_000)).toBeGreaterThan(0.8);
    expect(samples / (instructions / 20_000)).toBeLessThan(1.2);
    expect(pages.reduce((sum, page) => sum + page.samples, rest.elsewhere)).toBe(samples);
    const [hottest] = pages;
    expect(hottest).toMatchObject({ mode: 'user', physical: expect.stringMatching(/^0x8/) });
    const user = pages.filter(({ mode }) => mode === 'user').reduce((sum, page) => sum + page.samples, 0);
    expect(user / samples).toBeGreaterThan(0.9);
    expect(rest.translated / samples > 0.7).toBe(translated);
    expect(hottest.translated / hottest.samples > 0.7).toBe(translated);
    expect(hottest.regions > 0).toBe(translated);
    if (!translated) expect(rest.translated).toBe(0);
    expect(exits.budget).toBeGreaterThan(samples / 2);
    expect(exits.timerInterrupts).toBeGreaterThan(0);
    expect(exits.supervisorReturns).toBeGreaterThan(0);
    expect(calls.csrInstructions).toBeGreaterThan(0);
  });
});

it('ends with its machine, with what was seen, and is one at a time', { timeout: 120_000 }, async () => {
  await using machines = await openMachines({ memory: '512M', threads: 1 });
  const [killed, paused, removed, closed] = await machines.boot(4, '96M');
  await Promise.all([killed, paused, removed, closed].map(keepBusy));

  const first = killed.profile({ seconds: 60 });
  await expect(killed.profile({ seconds: 1 })).rejects.toMatchObject({ code: 'wrong-state' });
  await sleep(500);
  await killed.kill();
  expect((await first).instructions).toBeGreaterThan(0);
  await expect(killed.profile()).rejects.toMatchObject({ code: 'wrong-state' });

  const still = paused.profile({ seconds: 1 });
  await paused.pause();
  const seen = await still;
  expect(seen.durationMs).toBeGreaterThan(900);
  expect(seen.ranMs).toBeLessThan(900);
  await paused.resume();

  const given = new AbortController();
  const aborted = paused.profile({ seconds: 60, signal: given.signal });
  given.abort();
  await expect(aborted).rejects.toMatchObject({ code: 'aborted' });
  expect((await paused.profile({ seconds: 0.1 })).durationMs).toBeLessThan(5000);

  const reset = paused.profile({ seconds: 60 });
  // What is asked of a machine may overtake the message that begins a profile.
  await sleep(500);
  await paused.reset();
  expect((await reset).durationMs).toBeLessThan(30_000);

  const gone = removed.profile({ seconds: 60 });
  await removed.remove();
  expect((await gone).durationMs).toBeLessThan(30_000);

  let ended = false;
  void closed.profile({ seconds: 60 }).then(() => {
    ended = true;
  });
  await machines.host.close();
  await until('the profile ended with its host', () => ended, 5000);
});
