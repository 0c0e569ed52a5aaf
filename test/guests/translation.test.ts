/** Real guests whose code is translated: hot code as usual, and all of it where it is first run. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { openMachines } from './machines.ts';

const lines = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i + 1}`);
const md5 = (text: string): string => createHash('md5').update(text).digest('hex');
/** What a guest is asked, and what it has to say. */
const WORK: readonly (readonly [command: string, output: string])[] = [
  ['seq 1 20000 | sort -r | md5sum', `${md5(lines(20_000).sort().reverse().join('\n').concat('\n'))}  -\n`],
  ['seq 1 3000 | awk \'{ s += $1 * $1 / 7 } END { printf "%.6f\\n", s }\'', `${(9_004_500_500 / 7).toFixed(6)}\n`],
  ['seq 1 30000 | gzip | gunzip | md5sum', `${md5(lines(30_000).join('\n').concat('\n'))}  -\n`],
  ['head -c 3000000 /dev/urandom > /tmp/a && gzip -c /tmp/a | gunzip | cmp - /tmp/a && echo same', 'same\n'],
  ['i=0; while [ $i -lt 300 ]; do i=$((i + 1)); (exit $((i % 3))) || :; done; echo $i', '300\n'],
];

describe('guests whose code is translated', () => {
  it.each([4, 1])('do what they are asked to, at a threshold of %i', { timeout: 300_000 }, async (threshold) => {
    await using machines = await openMachines({ memory: '512M', translation: { threshold, bytesMax: 16 * 2 ** 20 } });
    const vms = await machines.boot(2, '128M');
    const outputs = await Promise.all(
      vms.map(async (vm) => {
        const said: string[] = [];
        for (const [command] of WORK) said.push((await vm.exec(command)).stdout);
        return said;
      }),
    );
    for (const said of outputs) expect(said).toEqual(WORK.map(([, output]) => output));
  });
});
