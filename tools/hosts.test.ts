import { describe, expect, it } from 'vitest';
import { findHosts, type HostRules } from './hosts.ts';

const rules: HostRules = { forbidden: ['packages.invalid', '/home/someone/shoal'], strictBelow: ['src/'] };

describe('the host-name check', () => {
  it('finds the package source and the checkout path in any file', () => {
    expect(findHosts('README.md', 'from https://packages.invalid/npm/\n', rules)).toHaveLength(1);
    expect(findHosts('docs/a.md', 'cd /home/someone/shoal\n', rules)).toHaveLength(1);
  });

  it('finds a lock file that says where its packages came from', () => {
    expect(findHosts('package-lock.json', '{"resolved": "x"}', rules)).toHaveLength(1);
    expect(findHosts('package-lock.json', '{"integrity": "x"}', rules)).toEqual([]);
  });

  it('lets sources name only neutral hosts', () => {
    const source = "fetch('http://localhost:80/'); fetch('http://shoal/v1'); fetch(`http://$" + '{host}/`);\n';
    expect(findHosts('src/host/client.ts', source, rules)).toEqual([]);
    expect(findHosts('src/host/client.ts', "fetch('https://some.where.else/x')", rules)).toHaveLength(1);
    expect(findHosts('docs/a.md', 'see https://some.where.else/x', rules)).toEqual([]);
  });
});
