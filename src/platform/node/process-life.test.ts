import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { isAlive, startTime } from './process-life.ts';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function start(script: string): ChildProcess {
  const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return child;
}

test('a process is alive until it has ended, and keeps its time of start', async () => {
  const child = start('exec sleep 100');
  const pid = child.pid as number;
  expect(isAlive(process.pid)).toBe(true);
  expect(isAlive(pid)).toBe(true);
  const began = startTime(pid);
  expect(startTime(pid)).toBe(began);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(isAlive(pid)).toBe(false);
  expect(startTime(pid)).toBe('0');
});

test('one that was killed and that its parent never asks after is not alive', async (context) => {
  if (!existsSync('/proc/self/stat')) return context.skip('skipped: this system has no /proc, which tells such a process apart');
  // The shell becomes a program that knows nothing of its child.
  const parent = start('sleep 100 & echo $!; exec sleep 100');
  const [printed] = (await once(parent.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  const pid = Number(printed.toString());
  expect(isAlive(pid)).toBe(true);
  // Until then the shell would ask.
  const parentName = (): string => readFileSync(`/proc/${parent.pid}/comm`, 'latin1').trim();
  await expect.poll(parentName, { timeout: 10_000 }).toBe('sleep');
  const began = startTime(pid);
  process.kill(pid, 'SIGKILL');
  await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
  // Its number is still taken.
  expect(process.kill(pid, 0)).toBe(true);
  expect(startTime(pid)).toBe(began);
});
