/**
 * What the tests need beyond npm's packages: `prepare.ts machine` sees to the Debian packages that they compare with and
 * compile by, `prepare.ts images` to the guest image. Both do nothing when nothing is missing. Shoal itself needs no Debian package.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface DebianPackage {
  readonly name: string;
  /** A command in the path, or an absolute path, that is there when the package is. */
  readonly evidence: string;
}

const DEBIAN_PACKAGES: readonly DebianPackage[] = [
  { name: 'qemu-user', evidence: 'qemu-riscv64' },
  { name: 'qemu-system-misc', evidence: 'qemu-system-riscv64' },
  { name: 'gcc-riscv64-linux-gnu', evidence: 'riscv64-linux-gnu-gcc' },
  { name: 'libc6-dev-riscv64-cross', evidence: '/usr/riscv64-linux-gnu/lib/libc.a' },
  { name: 'device-tree-compiler', evidence: 'dtc' },
  { name: 'e2fsprogs', evidence: 'mke2fs' },
  { name: 'debian-archive-keyring', evidence: '/usr/share/keyrings/debian-archive-keyring.gpg' },
];

const root = fileURLToPath(new URL('..', import.meta.url));

function isThere(evidence: string): boolean {
  if (evidence.startsWith('/')) return existsSync(evidence);
  // Debian keeps mke2fs where only root's path looks.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
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
  const missing = DEBIAN_PACKAGES.filter((wanted) => !isThere(wanted.evidence)).map((wanted) => wanted.name);
  if (missing.length === 0) {
    console.log(`machine: all ${DEBIAN_PACKAGES.length} packages are here`);
    return 0;
  }
  const install = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0 || !isThere('apt-get') || process.env['SHOAL_NO_INSTALL']) {
    console.error(`machine: the tests need ${missing.join(', ')}; as root: ${install}`);
    return 1;
  }
  console.log(`machine: ${install}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  for (const command of ['apt-get -q update', `${install} -q`]) {
    const [program, ...args] = command.split(' ');
    if (spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'], env }).status !== 0) {
      console.error(`machine: \`${command}\` failed; its own words are above`);
      return 1;
    }
  }
  return 0;
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
