/**
 * Fetches Debian packages through apt with a state of its own: no root, the machine's apt is neither read for packages nor
 * changed. Only where to fetch from (mirror, proxy) is taken over from the machine, so no host name is written here.
 *
 * Signatures are checked by apt against Debian's keyring, each package against the signed index.
 */
import { access, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../base/errors.ts';
import { fractionReporter, type ImageOptions } from './progress.ts';
import { ProgramError, runProgram } from './run-program.ts';

const SUITE = 'trixie';
const KEYRINGS = ['/usr/share/keyrings/debian-archive-keyring.gpg', '/usr/share/keyrings/debian-archive-keyring.pgp'];
/** Settings of the machine that say how to reach a mirror; those that weaken checks are not taken over. */
const CONNECTION_SETTING = /^Acquire::(https?|Retries|ForceIPv[46]|Check-Date)\b.*;$/;
const POLL_MS = 250;

export interface AptPackage {
  readonly name: string;
  /** The downloaded .deb. */
  readonly file: string;
}

export class PrivateApt {
  private readonly folder: string;
  private readonly options: ImageOptions;

  private constructor(folder: string, options: ImageOptions) {
    this.folder = folder;
    this.options = options;
  }

  /** Sets up the state in an empty folder and fetches the package index. `architecture` is Debian's name. Errors: `no-apt`. */
  static async open(folder: string, architecture: string, options: ImageOptions): Promise<PrivateApt> {
    for (const part of ['state/lists/partial', 'cache/archives/partial', 'empty'])
      await mkdir(join(folder, part), { recursive: true });
    await writeFile(join(folder, 'status'), '');
    const source = `deb [arch=${architecture} signed-by=${await keyring()}] ${await mirror(options.signal)} ${SUITE} main\n`;
    await writeFile(join(folder, 'sources.list'), source);
    await writeFile(join(folder, 'apt.conf'), await configuration(folder, architecture, options.signal));
    const apt = new PrivateApt(folder, options);
    options.onProgress?.({ step: 'apt', message: `Fetching the index of Debian ${SUITE} for ${architecture}` });
    await apt.run('apt-get', ['update', '-q', '-o', 'APT::Update::Error-Mode=any']);
    return apt;
  }

  /** The packages that one depends on directly, the first alternative of each. */
  async dependencies(name: string): Promise<string[]> {
    const output = await this.run('apt-cache', ['depends', '--important', name]);
    return [...output.matchAll(/^ *Depends: ([^<\s]+)$/gm)].map((match) => match[1] as string);
  }

  /** Downloads these packages and no others. */
  download(names: readonly string[]): Promise<AptPackage[]> {
    return this.fetch(['download', ...names]);
  }

  /** Downloads these packages and all that they need, without recommendations. */
  downloadWithDependencies(names: readonly string[]): Promise<AptPackage[]> {
    return this.fetch(['install', '-y', '--no-install-recommends', '--download-only', ...names]);
  }

  private async fetch(command: readonly string[]): Promise<AptPackage[]> {
    const list = await this.run('apt-get', ['-q', '--print-uris', ...command]);
    // 'uri' file size hash
    const files = [...list.matchAll(/^'[^']+' (\S+\.deb) (\d+) /gm)].map((match) => ({
      name: match[1] as string,
      bytes: Number(match[2]),
    }));
    const total = files.reduce((sum, file) => sum + file.bytes, 0);
    const report = fractionReporter(
      this.options,
      'download',
      `Downloading ${files.length} packages (${Math.ceil(total / 2 ** 20)} MiB)`,
      total,
    );
    const target = command[0] === 'download' ? join(this.folder, 'downloads') : join(this.folder, 'cache/archives');
    await mkdir(target, { recursive: true });
    report(0);
    let seen = 0;
    const timer = setInterval(async () => {
      const now = await folderBytes(target);
      report(Math.max(0, now - seen));
      seen = Math.max(seen, now);
    }, POLL_MS);
    try {
      await this.run('apt-get', ['-q', ...command], target);
    } finally {
      clearInterval(timer);
    }
    report(total);
    return files.map(({ name }) => ({ name: name.slice(0, name.indexOf('_')), file: join(target, name) }));
  }

  private async run(program: string, args: readonly string[], cwd?: string): Promise<string> {
    try {
      return await runProgram(program, args, {
        env: { APT_CONFIG: join(this.folder, 'apt.conf'), DEBIAN_FRONTEND: 'noninteractive' },
        signal: this.options.signal,
        ...(cwd === undefined ? {} : { cwd }),
      });
    } catch (error) {
      throw aptError(error);
    }
  }
}

/** Unpacks a package without running anything of it. */
export async function unpackPackage(file: string, target: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await runProgram('dpkg-deb', ['--extract', file, target], { signal });
  } catch (error) {
    throw aptError(error);
  }
}

function aptError(error: unknown): unknown {
  if (error instanceof ShoalError && error.code === 'not-found') return noApt(error);
  if (!(error instanceof ProgramError) || /no space left|enough free space/i.test(error.message)) return error;
  return new ShoalError(
    'no-apt',
    `Fetching packages failed; check the network and the mirror. ${error.message.replaceAll(/\s+/g, ' ')}`,
    { cause: error },
  );
}

const noApt = (cause?: unknown): ShoalError =>
  new ShoalError(
    'no-apt',
    'Building an image needs apt, which is not on this machine; build it on Debian and bring it here with `shoal images import`.',
    { cause },
  );

/** The address to fetch from: SHOAL_APT_MIRROR, else the Debian archive that the machine's own apt uses. */
async function mirror(signal: AbortSignal | undefined): Promise<string> {
  const chosen = process.env.SHOAL_APT_MIRROR;
  if (chosen) return chosen;
  let targets: string;
  try {
    targets = await runProgram('apt-get', ['indextargets', '--format', '$(REPO_URI) $(LABEL)'], { signal });
  } catch (error) {
    throw aptError(error);
  }
  const addresses = targets
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([address, label]) => address?.includes('debian') && label !== 'Debian-Security' && !/security/.test(address));
  const address = addresses.find(([, label]) => label === 'Debian')?.[0] ?? addresses[0]?.[0];
  if (address !== undefined) return address;
  throw new ShoalError('no-apt', 'The apt of this machine names no Debian archive; set SHOAL_APT_MIRROR to the address of one.');
}

async function keyring(): Promise<string> {
  for (const file of KEYRINGS) {
    try {
      await access(file);
      return file;
    } catch {
      // The next one, then.
    }
  }
  throw new ShoalError('no-apt', 'Debian’s signing keys are not on this machine; install the package debian-archive-keyring.');
}

/** APT_CONFIG is read before the machine's own settings, and tells apt to read none of those (apt.conf(5)). */
async function configuration(folder: string, architecture: string, signal: AbortSignal | undefined): Promise<string> {
  const machine = await runProgram('apt-config', ['dump'], { signal }).catch((error) => {
    throw aptError(error);
  });
  const lines = machine.split('\n').filter((line) => CONNECTION_SETTING.test(line));
  const set = (name: string, value: string): number => lines.push(`${name} "${value}";`);
  set('Dir::Etc::main', '/dev/null');
  set('Dir::Etc::parts', join(folder, 'empty'));
  set('Dir::Etc::sourcelist', join(folder, 'sources.list'));
  set('Dir::Etc::sourceparts', join(folder, 'empty'));
  set('Dir::Etc::preferences', '/dev/null');
  set('Dir::Etc::preferencesparts', join(folder, 'empty'));
  set('Dir::State', join(folder, 'state'));
  set('Dir::State::status', join(folder, 'status'));
  set('Dir::Cache', join(folder, 'cache'));
  set('Dir::Log', folder);
  set('APT::Architecture', architecture);
  set('APT::Architectures', architecture);
  set('APT::Sandbox::User', '');
  set('Acquire::Languages', 'none');
  return `${lines.join('\n')}\n`;
}

async function folderBytes(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        (found) => (found.isFile() ? found.size : 0),
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}
