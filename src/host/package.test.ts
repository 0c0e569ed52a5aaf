/** The public API is a promise: an export that comes or goes is seen here. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as shoal from './index.ts';

test('values', () => {
  expect(Object.keys(shoal).sort()).toEqual(['Host', 'ShoalError']);
});

test('types', () => {
  const source = readFileSync(new URL('./index.ts', import.meta.url), 'utf8');
  const names = [...source.matchAll(/^export (?:type )?\{([^}]*)\}/gm)]
    .flatMap((match) => match[1].split(','))
    .map((name) => name.replace(/^\s*type\s+/, '').trim())
    .filter(Boolean);
  expect(names.sort()).toMatchInlineSnapshot(`
    [
      "BuildProgress",
      "ConnectOptions",
      "ConsoleSession",
      "CreateOptions",
      "Exec",
      "ExecInput",
      "ExecOptions",
      "ExecResult",
      "ExecStdin",
      "FileEntry",
      "FileRead",
      "FileStat",
      "ForkOptions",
      "Host",
      "HostEvent",
      "HostInfo",
      "HostOptions",
      "HostOverview",
      "HotPage",
      "LimitOptions",
      "ManagerCounters",
      "ManagerSettings",
      "MemoryMap",
      "OutputStream",
      "PageCounts",
      "PageExplanation",
      "PageHolder",
      "PageReason",
      "PageStateName",
      "PoolMemory",
      "RestoreOptions",
      "ShoalError",
      "ShoalErrorCode",
      "Size",
      "SnapshotOptions",
      "SnapshotResult",
      "SwapSettings",
      "Vm",
      "VmConsole",
      "VmFiles",
      "VmInfo",
      "VmLimits",
      "VmMemory",
      "VmProfile",
      "VmState",
    ]
  `);
});

test('methods of a host and of a machine', () => {
  const methods = (prototype: object): string[] =>
    Object.getOwnPropertyNames(prototype)
      .filter((name) => name !== 'constructor')
      .sort();
  expect(methods(shoal.Host.prototype)).toMatchInlineSnapshot(`
    [
      "close",
      "configure",
      "create",
      "events",
      "info",
      "memory",
      "overview",
      "restore",
      "run",
      "shutdown",
      "vm",
      "vms",
    ]
  `);
});
