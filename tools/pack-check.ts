/**
 * Packs the package from a copy of the checkout, installs it into an empty project as a stranger would, and uses it there: the command
 * answers and runs a guest, the module is imported by JavaScript, and TypeScript finds its types.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** A boot, on a machine that is busy with other tests, and the image if it is not there yet. */
const GUEST_MS_MAX = 300_000;
const scratch = mkdtempSync(join(tmpdir(), 'shoal-pack-'));
// The user of the package has Node 26 first in the path, as `engines` asks.
const path = `${dirname(process.execPath)}:${process.env['PATH']}`;

function run(cwd: string, command: string, ...args: string[]): string {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...process.env, PATH: path }, timeout: 300_000 });
  if (result.status !== 0) {
    throw new Error(
      `pack: ${command} ${args.join(' ')} gave ${result.status ?? result.signal}:\n${result.stdout}${result.stderr}`,
    );
  }
  return result.stdout.trim();
}

/** A guest from the installed package alone: compiled workers, the agent's files, the image cache of this machine. */
function runGuest(project: string): void {
  const env = { ...process.env, PATH: path, SHOAL_SOCKET: join(scratch, 'host.sock') };
  const shoal = join(project, 'node_modules/.bin/shoal');
  const result = spawnSync(shoal, ['run', '-m', '256M', '--', 'sh', '-c', 'uname -m; exit 7'], {
    cwd: project,
    encoding: 'utf8',
    env,
    timeout: GUEST_MS_MAX,
  });
  if (result.status !== 7 || result.stdout.trim() !== 'riscv64') {
    throw new Error(`pack: the guest gave ${result.status ?? result.signal}:\n${result.stdout}${result.stderr}`);
  }
}

/** Copies what git knows of, so that packing never touches the checkout's own package.json. */
function copyCheckout(): string {
  const copy = join(scratch, 'checkout');
  const listed = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' });
  for (const file of listed.split('\0').filter((name) => name !== '')) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    cpSync(join(root, file), join(copy, file));
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

function assertContents(tarball: string): void {
  const files = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).split('\n');
  for (const wanted of [
    'package/dist/host/index.js',
    'package/dist/host/index.d.ts',
    'package/dist/cli/main.js',
    'package/LICENSE',
  ]) {
    if (!files.includes(wanted)) throw new Error(`pack: the tarball lacks ${wanted}`);
  }
  const stray = files.filter((file) =>
    /^package\/(src|test|bench|node_modules)\/|\.test\.|\/testing\/|\/test-|-for-tests\./.test(file),
  );
  if (stray.length > 0) throw new Error(`pack: the tarball has ${stray.slice(0, 5).join(', ')}`);
}

function useAsStranger(tarball: string): void {
  const project = join(scratch, 'project');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{"name":"stranger","private":true,"type":"module"}\n');
  run(project, 'npm', 'install', '--no-audit', '--no-fund', '--no-save', '--prefer-offline', tarball);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const said = run(project, join(project, 'node_modules/.bin/shoal'), '--version');
  if (!said.includes(version)) throw new Error(`pack: shoal --version says ${JSON.stringify(said)}, not ${version}`);

  runGuest(project);

  writeFileSync(join(project, 'use.mjs'), "import { Host } from 'shoal';\nconsole.log(typeof Host.open, typeof Host.connect);\n");
  if (run(project, process.execPath, 'use.mjs') !== 'function function') throw new Error('pack: Host is not what it should be');
  writeFileSync(
    join(project, 'use.ts'),
    "import { Host } from 'shoal';\nexport const open: Promise<Host> = Host.open({ memory: '1G' });\n",
  );
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024', '--lib', 'es2024,esnext.disposable,dom'];
  run(
    project,
    process.execPath,
    join(root, 'node_modules/typescript/bin/tsc'),
    ...options,
    '--types',
    'node',
    '--typeRoots',
    join(root, 'node_modules/@types'),
    'use.ts',
  );
}

try {
  const copy = copyCheckout();
  run(copy, 'npm', 'pack', '--pack-destination', scratch);
  const name = readdirSync(scratch).find((file) => file.endsWith('.tgz'));
  if (name === undefined) throw new Error('pack: npm pack left no tarball');
  assertContents(join(scratch, name));
  useAsStranger(join(scratch, name));
  console.log(`pack: ${name} installs, runs a guest and has types`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
