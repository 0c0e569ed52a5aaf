/** Runs items in a guest, over its console. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConsoleShell } from '../console-shell.ts';
import { commandOf, type Item, PROGRAM, type Run, type Runner, RunReader, SCRIPT } from './items.ts';
import { compile, GUEST_GCC, SOURCES } from './programs.ts';

/** Of each guest's RAM. */
export const GUEST_MIB = 256;
/** With Python. */
export const GUEST_IMAGE = 'debian';
/** In memory. */
const FOLDER = '/run/cpu';
const ITEM_TIMEOUT_MS = 300_000;

export interface GuestPrograms {
  readonly program: Buffer;
  readonly script: Buffer;
}

export function buildGuestPrograms(): GuestPrograms {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-'));
  try {
    compile(GUEST_GCC, join(folder, PROGRAM));
    return { program: readFileSync(join(folder, PROGRAM)), script: readFileSync(join(SOURCES, SCRIPT)) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Puts the programs into the guest. `end` ends it. */
export async function guestRunner(
  name: string,
  shell: ConsoleShell,
  programs: GuestPrograms,
  end: () => void | Promise<void>,
): Promise<Runner> {
  await shell.run(`mkdir ${FOLDER}`);
  await shell.put(`${FOLDER}/${PROGRAM}`, programs.program);
  await shell.put(`${FOLDER}/${SCRIPT}`, programs.script);
  await shell.run(`chmod +x ${FOLDER}/${PROGRAM}`);
  return {
    name,
    async run(item: Item): Promise<Run> {
      const reader = new RunReader(item);
      await shell.run(commandOf(item, FOLDER).join(' '), reader.hear, ITEM_TIMEOUT_MS);
      return reader.result(name);
    },
    async [Symbol.asyncDispose]() {
      await end();
    },
  };
}
