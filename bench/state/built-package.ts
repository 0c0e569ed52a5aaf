/** The package as it is published, for what a user's process would run: sources cost a process the time to strip their types. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS } from '../../tools/launch.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
let built = false;

/** Path of a file of the package, which is compiled first. */
export function packageFile(path: string): string {
  if (!built) {
    const { status, stderr } = spawnSync(process.execPath, [...NODE_FLAGS, join(root, 'tools/build.ts')], {
      cwd: root,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`the package cannot be built: ${stderr}`);
    built = true;
  }
  return join(root, 'dist', path);
}
