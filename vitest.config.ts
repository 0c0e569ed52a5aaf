import { delimiter } from 'node:path';
import { defineConfig } from 'vitest/config';
import { NODE_FLAGS } from './tools/launch.mjs';
import { LOCAL_PROGRAMS } from './tools/prepare.ts';

/**
 * unit: beside the sources, and of the tools. end-to-end: real kernels, the simulator's long runs, QEMU side by side; one file at a time,
 * because two of them would measure each other, and after the units.
 */
export default defineConfig({
  test: {
    execArgv: NODE_FLAGS,
    env: { PATH: `${process.env['PATH'] ?? ''}${delimiter}${LOCAL_PROGRAMS}` },
    reporters: ['default', './tools/test-summary.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'tools/**/*.test.ts'],
          testTimeout: 20_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'end-to-end',
          include: ['test/**/*.test.ts'],
          fileParallelism: false,
          sequence: { groupOrder: 1 },
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
