/** Runs every file of examples/ as a reader would, one after the other; fails with the first that fails. The README shows the first. */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS } from './launch.mjs';

const EXAMPLE_MS_MAX = 180_000;
const root = fileURLToPath(new URL('..', import.meta.url));
const examples = globSync('examples/*.ts', { cwd: root }).sort();

for (const example of examples) {
  console.log(`examples: ${example}`);
  const result = spawnSync(process.execPath, [...NODE_FLAGS, join(root, example)], { stdio: 'inherit', timeout: EXAMPLE_MS_MAX });
  if (result.status !== 0) throw new Error(`examples: ${example} gave ${result.status ?? result.signal}`);
}
if (examples.length === 0) throw new Error('examples: there is none');
console.log(`examples: ${examples.length} ran`);
