/** Keeps README.md true where a machine can: its example is the one that CI runs, its commands exist, its links lead somewhere. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const readme = read('README.md');

describe('README.md', () => {
  it('shows examples/first.ts as it is', () => {
    expect(readme).toContain(`\`\`\`ts\n${read('examples/first.ts')}\`\`\``);
  });

  it('names only npm scripts that package.json has', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...readme.matchAll(/npm run (?:-s )?([\w:-]+)/g)].map((match) => match[1]);
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((script) => scripts[script] === undefined)).toEqual([]);
  });
});

describe('links between the documents', () => {
  const documents = globSync(['*.md', 'docs/**/*.md'], { cwd: root });

  it.each(documents)('%s links to files that exist', (document) => {
    const targets = [...read(document).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)].map((match) => match[1]);
    expect(targets.filter((target) => !existsSync(join(root, dirname(document), target)))).toEqual([]);
  });
});
