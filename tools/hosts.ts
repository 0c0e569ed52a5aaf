/**
 * The host-name check: no file of the repository names the package registry or the apt mirror of the machine that it was written
 * on, nor the path of the checkout there. It names none itself: it asks this machine's npm and apt which they use.
 *
 * Sources (src/, guest/) moreover name no host at all but the local one, for Shoal fetches only through npm's and apt's own settings.
 */
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Hosts that anyone may name: this machine as such, names reserved for examples (RFC 2606), and the dummy name of the Unix socket. */
const NEUTRAL_HOST =
  /^(localhost|127\.0\.0\.1|\[::1\]|shoal|([\w-]+\.)*example(\.(com|org|net))?|([\w-]+\.)+(test|invalid|localhost))$/;
const URL_HOST = /\bhttps?:\/\/([^/\s"'`)>:]+)/g;

export interface HostRules {
  /** Names and paths that no file may contain. */
  readonly forbidden: readonly string[];
  /** Path prefixes below which every URL's host must be neutral. */
  readonly strictBelow: readonly string[];
}

/** One line per finding in `text`, the content of the file at `path`. */
export function findHosts(path: string, text: string, rules: HostRules): string[] {
  const findings = rules.forbidden
    .filter((name) => text.includes(name))
    .map((name) => `${path} names this machine's ${name.startsWith('/') ? 'checkout path' : 'package source'}: ${name}`);
  if (path === 'package-lock.json' && /"resolved"\s*:/.test(text)) {
    findings.push(`${path} has "resolved" fields; make it with omit-lockfile-registry-resolved (see .npmrc)`);
  }
  if (rules.strictBelow.some((prefix) => path.startsWith(prefix))) {
    for (const match of text.matchAll(URL_HOST)) {
      if (!match[1].startsWith('$') && !NEUTRAL_HOST.test(match[1])) findings.push(`${path} names a host: ${match[1]}`);
    }
  }
  return findings;
}

/** Host names of the registry that npm uses here and of the mirrors that apt uses here. */
function packageSources(): string[] {
  const texts = [answerOf('npm', ['config', 'get', 'registry'])];
  for (const file of globSync(['/etc/apt/sources.list', '/etc/apt/sources.list.d/*'])) texts.push(readFileSync(file, 'utf8'));
  const hosts = texts.flatMap((text) => [...text.matchAll(URL_HOST)].map((match) => match[1].replace(/^.*@/, '')));
  // A registry on this very machine has no name that could leak.
  return [...new Set(hosts)].filter((host) => !NEUTRAL_HOST.test(host.replace(/:\d+$/, '')));
}

function answerOf(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}

function main(): number {
  const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  const paths = listed.split('\0').filter((path) => path !== '');
  const rules: HostRules = { forbidden: [...packageSources(), root], strictBelow: ['src/', 'guest/'] };
  const findings: string[] = [];
  let read = 0;
  for (const path of paths) {
    let text: string;
    try {
      text = readFileSync(join(root, path), 'utf8');
    } catch {
      continue; // deleted in the working tree, not yet in the index
    }
    read += 1;
    findings.push(...findHosts(path, text, rules));
  }
  for (const finding of findings) console.error(`hosts: ${finding}`);
  console.log(`hosts: ${read} files, ${findings.length} findings`);
  return read === 0 || findings.length > 0 ? 1 : 0;
}

if (import.meta.main) process.exitCode = main();
