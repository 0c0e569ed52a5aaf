import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { machineDeviceTree } from './device-tree.ts';

const tree = machineDeviceTree({
  memoryBytes: 32 * 2 ** 30,
  commandLine: 'console=hvc0 quiet',
  initrd: { start: 0x8400_0000, end: 0x8410_0000 },
  rngSeed: new Uint8Array(32).fill(7),
});

it('has the magic, and its sizes agree with its length', () => {
  const view = new DataView(tree.buffer);
  expect(view.getUint32(0)).toBe(0xd00dfeed);
  expect(view.getUint32(4)).toBe(tree.length);
  expect(view.getUint32(12) + view.getUint32(32)).toBe(tree.length);
});

const dtc = (() => {
  try {
    execFileSync('dtc', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

it.runIf(dtc)('is read back by the device tree compiler (runs where dtc is installed)', () => {
  const text = execFileSync('dtc', ['-q', '-I', 'dtb', '-O', 'dts'], { input: tree, encoding: 'utf8' });
  expect(text).toContain('bootargs = "console=hvc0 quiet"');
  expect(text).toContain('reg = <0x00 0x80000000 0x08 0x00>');
  expect(text).toMatch(/riscv,isa-extensions = "i(\\0|", ")m/);
});
