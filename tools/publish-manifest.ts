/**
 * npm's prepack and postpack: the package.json that is published differs from the checkout's, and is put back afterwards.
 *
 * Published: exports point at dist/, and what serves only a checkout (pinned Node, development packages, scripts, packages that are part of
 * dist/ already) is gone.
 */
import { existsSync, globSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Manifest {
  exports: Record<string, unknown>;
  files: string[];
  dependencies: Record<string, string>;
  [field: string]: unknown;
}

/** Fields of the checkout that mean nothing, or harm, where the package is installed. */
const CHECKOUT_ONLY = ['scripts', 'devDependencies', 'optionalDependencies', 'allowScripts'];

/** The manifest to publish for the checkout's one; `texts`: the code and the declarations of dist/. */
export function publishedManifest(checkout: Manifest, texts: readonly string[] = []): Manifest {
  const published: Manifest = { ...checkout, exports: {}, dependencies: {} };
  for (const [name, version] of Object.entries(checkout.dependencies)) {
    const named = new RegExp(`['"]${name}(/[^'"]*)?['"]`);
    if (texts.some((text) => named.test(text))) published.dependencies[name] = version;
  }
  for (const field of CHECKOUT_ONLY) delete published[field];
  for (const [subpath, target] of Object.entries(checkout.exports)) {
    const source = typeof target === 'string' ? /^\.\/src\/(.+)\.ts$/.exec(target) : null;
    published.exports[subpath] = source ? { types: `./dist/${source[1]}.d.ts`, default: `./dist/${source[1]}.js` } : target;
  }
  return published;
}

function distTexts(root: string): string[] {
  const dist = join(root, 'dist');
  return globSync('**/*.{js,d.ts}', { cwd: dist }).map((file) => readFileSync(join(dist, file), 'utf8'));
}

function main(action: string | undefined): void {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const manifest = join(root, 'package.json');
  const kept = join(root, 'package.checkout.json');
  if (action === 'write') {
    // A pack that was interrupted left its own manifest in place; the kept one is the truth.
    if (existsSync(kept)) renameSync(kept, manifest);
    const text = readFileSync(manifest, 'utf8');
    writeFileSync(kept, text);
    writeFileSync(manifest, `${JSON.stringify(publishedManifest(JSON.parse(text) as Manifest, distTexts(root)), null, 2)}\n`);
  } else if (action === 'restore') {
    if (existsSync(kept)) renameSync(kept, manifest);
  } else {
    throw new Error('usage: publish-manifest.ts write | restore');
  }
}

if (import.meta.main) main(process.argv[2]);
