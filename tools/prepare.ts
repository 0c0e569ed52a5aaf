/**
 * What the tests need beyond npm's packages: `prepare.ts machine` sees to the Debian packages that they compare with and
 * compile by, `prepare.ts images` to the guest image. Both do nothing when nothing is missing. Shoal itself needs no Debian package.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface DebianPackage {
  readonly name: string;
  /** A command in the path, or an absolute path, that is there when the package is. */
  readonly evidence: string;
  /** All that is wanted of it: this program, which goes into LOCAL_PROGRAMS, and nothing is installed. */
  readonly program?: string;
}

const DEBIAN_PACKAGES: readonly DebianPackage[] = [
  { name: 'qemu-user', evidence: 'qemu-riscv64' },
  { name: 'qemu-system-misc', evidence: 'qemu-system-riscv64' },
  { name: 'gcc-riscv64-linux-gnu', evidence: 'riscv64-linux-gnu-gcc' },
  { name: 'libc6-dev-riscv64-cross', evidence: '/usr/riscv64-linux-gnu/lib/libc.a' },
  { name: 'device-tree-compiler', evidence: 'dtc' },
  { name: 'e2fsprogs', evidence: 'mke2fs' },
  { name: 'debian-archive-keyring', evidence: '/usr/share/keyrings/debian-archive-keyring.gpg' },
  // Installed, it would start a server.
  { name: 'prometheus', evidence: 'promtool', program: 'usr/bin/promtool' },
];

const root = fileURLToPath(new URL('..', import.meta.url));

/** Programs of this checkout alone. Tests have it in their path. */
export const LOCAL_PROGRAMS = join(root, '.cache/bin');

function isThere(evidence: string): boolean {
  if (evidence.startsWith('/')) return existsSync(evidence);
  // Debian keeps mke2fs where only root's path looks.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', LOCAL_PROGRAMS];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, evidence), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function prepareMachine(): number {
  const missing = DEBIAN_PACKAGES.filter((wanted) => !isThere(wanted.evidence));
  if (missing.length === 0) {
    console.log(`machine: all ${DEBIAN_PACKAGES.length} packages are here`);
    return 0;
  }
  const names = (packages: readonly DebianPackage[]): string => packages.map(({ name }) => name).join(' ');
  if (process.getuid?.() !== 0 || !isThere('apt-get') || process.env['SHOAL_NO_INSTALL']) {
    const install = `apt-get install -y --no-install-recommends ${names(missing)}`;
    console.error(`machine: the tests need ${names(missing).replaceAll(' ', ', ')}; as root: ${install}`);
    return 1;
  }
  const whole = missing.filter(({ program }) => program === undefined);
  if (!run('apt-get -q update')) return 1;
  if (whole.length > 0 && !run(`apt-get install -y --no-install-recommends ${names(whole)} -q`)) return 1;
  return missing.every(({ name, program }) => program === undefined || unpack(name, program)) ? 0 : 1;
}

/** Puts one program of a package into LOCAL_PROGRAMS. */
function unpack(name: string, program: string): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-package-'));
  try {
    // Its own user could not write here.
    if (!run(`apt-get -q -o APT::Sandbox::User=root download ${name}`, folder)) return false;
    if (!run(`dpkg-deb -x ${readdirSync(folder)[0]} .`, folder)) return false;
    mkdirSync(LOCAL_PROGRAMS, { recursive: true });
    copyFileSync(join(folder, program), join(LOCAL_PROGRAMS, basename(program)));
    return true;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** False when it failed, which has been said then. */
function run(command: string, cwd = root): boolean {
  console.log(`machine: ${command}`);
  const [program, ...args] = command.split(' ');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  if (spawnSync(program, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'], env }).status === 0) return true;
  console.error(`machine: \`${command}\` failed; its own words are above`);
  return false;
}

/** The image that demo, examples and tests boot. The command leaves one that is there and current as it is. */
function prepareImages(): number {
  const shoal = spawnSync(process.execPath, [join(root, 'tools/start.mjs'), 'images', 'build', 'debian-mini'], {
    stdio: 'inherit',
  });
  return shoal.status ?? 1;
}

const actions: Record<string, () => number> = { machine: prepareMachine, images: prepareImages };

if (import.meta.main) {
  const wanted = process.argv.slice(2);
  for (const name of wanted) process.exitCode ||= actions[name]?.() ?? 2;
  if (wanted.length === 0) process.exitCode = 2;
}
