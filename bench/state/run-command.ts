/** `shoal run debian -t` as a user types it, from a template: until the shell's prompt is there. The compiled package, beside a host that runs. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { flagsOf } from '../../tools/launch.mjs';
import { type Spread, spread } from '../statistics.ts';
import { packageFile } from './built-package.ts';

const RUNS = Number(process.env['RUNS'] ?? 20);
const PROMPT = '# ';

export interface RunFigures {
  /** From `main()` on, with Node's own start taken off. */
  readonly promptMs: Spread;
  /** Node's start: a program that does nothing. */
  readonly nodeMs: Spread;
}

export async function runCommand(): Promise<RunFigures> {
  const main = packageFile('cli/main.js');
  const folder = mkdtempSync(join(tmpdir(), 'shoal-bench-run-'));
  const env = { ...process.env, SHOAL_DATA: folder, SHOAL_SOCKET: join(folder, 'host.sock') };
  const host = spawn(process.execPath, [...flagsOf('host'), main, 'host', '-m', '2G'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(host.stdout, 'data');
    const prompt = async (): Promise<number> => {
      const began = performance.now();
      const child = spawn(process.execPath, [...flagsOf('run'), main, 'run', '-q', '-t', 'debian'], {
        env,
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      let text = '';
      for await (const chunk of child.stdout.setEncoding('utf8')) if ((text += String(chunk)).includes(PROMPT)) break;
      const took = performance.now() - began;
      if (!text.includes(PROMPT)) throw new Error(`there was no prompt: ${text}`);
      child.stdin.end('exit\n');
      child.stdout.resume();
      await once(child, 'exit');
      return took;
    };
    // The first one boots, and is written while the next ones come; those learn what is touched.
    for (let i = 0; i < 4; i++) {
      await prompt();
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    const prompts: number[] = [];
    const starts: number[] = [];
    for (let i = 0; i < RUNS; i++) {
      const began = performance.now();
      spawnSync(process.execPath, [...flagsOf('run'), '-e', '0']);
      starts.push(performance.now() - began);
      prompts.push(await prompt());
    }
    const nodeMs = spread(starts);
    return { promptMs: spread(prompts.map((ms) => ms - nodeMs.p50)), nodeMs };
  } finally {
    host.kill('SIGTERM');
    await once(host, 'exit');
    rmSync(folder, { recursive: true, force: true });
  }
}
