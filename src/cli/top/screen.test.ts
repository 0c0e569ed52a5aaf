/** What `shoal top` looks like in a terminal emulator, at the sizes that people have. */

import { beforeAll, describe, expect, test } from 'vitest';
import { FakeTerminal } from '../../../test/fakes/terminal.ts';
import { modelOf } from '../../../test/fakes/top-model.ts';
import { Canvas } from './canvas.ts';
import { Choice } from './choice.ts';
import { SORT_KEYS } from './columns.ts';
import type { TopModel } from './model.ts';
import { plainTable, renderTop, type View } from './screen.ts';

process.env['TZ'] = 'UTC';

const view = (columns: number, rows: number, rest: Partial<View> = {}): View => ({
  columns,
  rows,
  sort: 'private',
  reverse: false,
  offset: 0,
  colour: false,
  nowMs: 72_000,
  monotonicMs: 1500,
  ...rest,
});

let model: TopModel;
beforeAll(async () => {
  model = await modelOf(24);
});

function open(columns: number, rows: number, onKey: (key: string) => void = () => {}) {
  const terminal = new FakeTerminal(columns, rows);
  const canvas = new Canvas({
    stdin: terminal.stdin as unknown as NodeJS.ReadStream,
    stdout: terminal.stdout,
    draw: (wide, high) => renderTop(model, view(wide, high, { colour: true })),
    onKey,
  });
  return { terminal, canvas };
}

describe('the screen', () => {
  test.each([
    [80, 24],
    [200, 50],
  ])('at %d × %d', async (columns, rows) => {
    const { terminal, canvas } = open(columns, rows);
    const screen = (await terminal.screen()).map((line) => line.trimEnd());
    canvas[Symbol.dispose]();
    await expect(`${screen.join('\n')}\n`).toMatchFileSnapshot(`golden/top-${columns}x${rows}.txt`);
  });

  test('is redrawn whole after each resize, larger and smaller', async () => {
    const { terminal, canvas } = open(80, 24);
    for (const [columns, rows] of [
      [200, 50],
      [30, 8],
      [81, 25],
      [80, 24],
      [1, 1],
      [200, 50],
    ]) {
      terminal.resize(columns, rows);
      const screen = (await terminal.screen()).map((line) => line.trimEnd());
      expect(screen, `${columns} × ${rows}`).toEqual(renderTop(model, view(columns, rows)).map((line) => line.trimEnd()));
    }
    canvas[Symbol.dispose]();
  });

  test('never exceeds the terminal, however small', () => {
    for (let columns = 1; columns < 210; columns += 7) {
      for (let rows = 1; rows < 60; rows++) {
        const lines = renderTop(model, view(columns, rows));
        expect(lines.length, `${columns} × ${rows}`).toBe(rows);
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
      }
    }
  });

  test('a picture that has not changed writes nothing', async () => {
    const { terminal, canvas } = open(80, 24);
    await terminal.screen();
    const { written } = terminal;
    for (let i = 0; i < 100; i++) canvas.draw();
    await terminal.screen();
    expect(terminal.written).toBe(written);
    canvas[Symbol.dispose]();
  });

  test('gives the terminal back, once', async () => {
    const listeners = (): number[] => ['exit', 'SIGINT', 'SIGTERM', 'SIGHUP'].map((name) => process.listenerCount(name));
    const before = listeners();
    const { terminal, canvas } = open(80, 24);
    await terminal.screen();
    expect([terminal.raw, terminal.emulator.alternate]).toEqual([true, true]);
    canvas[Symbol.dispose]();
    canvas[Symbol.dispose]();
    canvas.draw();
    expect(await terminal.screen()).toEqual(Array(24).fill(''));
    expect([terminal.raw, terminal.emulator.alternate]).toEqual([false, false]);
    expect(listeners()).toEqual(before);
  });

  test('names keys', async () => {
    const keys: string[] = [];
    const { terminal, canvas } = open(80, 24, (key) => keys.push(key));
    for (const typed of ['q', 'S', '\x03', '\x1b[A', '\x1b[B']) {
      terminal.stdin.write(typed);
      await terminal.screen();
    }
    expect(keys).toEqual(['q', 'shift-s', 'ctrl-c', 'up', 'down']);
    canvas[Symbol.dispose]();
  });
});

describe('the table', () => {
  const names = (rest: Partial<View>): string[] => {
    const lines = renderTop(model, view(200, 60, rest)).map((line) => line.split(' ')[0]);
    return lines.slice(lines.indexOf('NAME')).slice(0, 3);
  };

  test('is sorted by any column, either way, and scrolls', () => {
    expect(names({})).toEqual(['NAME', 'g23', 'g22']);
    expect(names({ reverse: true })).toEqual(['NAME', 'a-machine-with-a-long-name', 'g1']);
    expect(names({ sort: 'name', reverse: true })).toEqual(['NAME', 'g23', 'g22']);
    expect(names({ sort: 'ballooned' })).toEqual(['NAME', 'g2', 'a-machine-with-a-long-name']);
    expect(names({ sort: 'state' })).toEqual(['NAME', 'g4', 'a-machine-with-a-long-name']);
    const scrolled = renderTop(model, view(80, 24, { offset: 1000 }));
    expect(scrolled.join('\n')).toContain('17 machines above, 0 below');
  });

  test('keys choose the order and how far down', () => {
    const choice = new Choice('private');
    for (const key of ['s', 's', 'S', 'shift-s', 'r', 'down', 'j', 'j', 'up']) choice.onKey(key, 3);
    expect(choice).toMatchObject({ sort: 'shared', reverse: true, offset: 1 });
    for (const _ of SORT_KEYS) choice.onKey('s', 3);
    expect(choice.sort).toBe('shared');
    expect(choice.onKey('x', 3)).toBe(false);
  });

  test('as plain text has every column', () => {
    const lines = plainTable(model, view(0, 0, { sort: 'name' })).split('\n');
    expect(lines[0]).toBe('pool: 236 MiB of 1 GiB in use, 6 GiB promised, 471 MiB resident');
    expect(lines[1]).toMatch(/^NAME +STATE +CPU +PROMISE +PRIVATE +.*RETURN\/s +MINIMUM +MAXIMUM +SHARES +UP +DOMAIN +IMAGE$/);
    expect(lines.length).toBe(26);
  });
});

test('a host that does not answer is said to be silent, and control characters do no harm', async () => {
  const silent = await modelOf(2);
  silent.askedAtMs = 1000;
  expect(renderTop(silent, view(120, 24, { monotonicMs: 3900 }))[0]).not.toContain('no answer');
  expect(renderTop(silent, view(120, 24, { monotonicMs: 6100 }))[0]).toContain('no answer for 5 s');
  silent.add({ kind: 'decision', at: 0, vm: 'x', action: 'swap', pages: 1, reason: 'evil \x1b[2J\n\x9b' }, 0);
  const text = renderTop(silent, view(120, 24)).join('');
  expect(text).toContain('evil ?[2J??');
  expect(text).not.toMatch(/\p{Cc}/u);
});
