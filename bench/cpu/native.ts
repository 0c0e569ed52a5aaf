/** Items on the machine itself, without any guest: what emulation costs, for honesty. Its Python may be another version. */
import { spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { commandOf, type Item, PROGRAM, type Run, type Runner, RunReader, SCRIPT } from './items.ts';
import { compile, NATIVE_GCC, SOURCES } from './programs.ts';

export function startNativeRunner(): Runner {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-'));
  compile(NATIVE_GCC, join(folder, PROGRAM));
  copyFileSync(join(SOURCES, SCRIPT), join(folder, SCRIPT));
  return {
    name: 'native',
    async run(item: Item): Promise<Run> {
      const reader = new RunReader(item);
      const [program, argument] = commandOf(item, folder);
      const child = spawn(program, [argument], { stdio: ['ignore', 'pipe', 'inherit'] });
      for await (const line of createInterface(child.stdout)) reader.hear(line);
      return reader.result('the machine itself');
    },
    async [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
