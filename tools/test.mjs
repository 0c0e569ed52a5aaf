/**
 * `npm test`: vitest on Node 26, then one last line `N passed, N failed`, alone on its line, also when the
 * run broke before it could count. Arguments go to vitest. Without any, what all the tests need is put in place first.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS, suitableNode } from './launch.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
const scratch = mkdtempSync(join(tmpdir(), 'shoal-test-'));
const summary = join(scratch, 'summary.json');

const node = suitableNode();
const args = process.argv.slice(2);
if (args.length === 0) {
  // What cannot be put in place is said by these, and each test that misses it says so again.
  for (const what of ['machine', 'images'])
    spawnSync(node, [...NODE_FLAGS, 'tools/prepare.ts', what], { cwd: root, stdio: 'inherit' });
}
const child = spawn(node, [...NODE_FLAGS, vitest, 'run', ...args], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, SHOAL_TEST_SUMMARY: summary },
});
process.on('SIGINT', () => {});
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('error', (error) => finish(`cannot start vitest: ${error.message}`, 1));
child.on('exit', (code, signal) => finish(undefined, signal ? 128 + constants.signals[signal] : code));

function finish(problem, exitCode) {
  if (problem) process.stderr.write(`${problem}\n`);
  let counts = { passed: 0, failed: 0, skipped: [] };
  try {
    counts = JSON.parse(readFileSync(summary, 'utf8'));
  } catch {
    exitCode ||= 1;
  }
  rmSync(scratch, { recursive: true, force: true });
  for (const { name, reason } of counts.skipped) process.stdout.write(`skipped: ${name}: ${reason}\n`);
  // A run that failed as a whole (a file that does not load, a stray rejection, no tests at all) has failed by at least one.
  const failed = exitCode === 0 ? counts.failed : Math.max(1, counts.failed);
  process.stdout.write(`${counts.passed} passed, ${failed} failed\n`);
  process.exit(failed > 0 ? exitCode || 1 : 0);
}
