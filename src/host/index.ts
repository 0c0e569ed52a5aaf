/** The public API: `import { Host } from 'shoal'`. What is exported here is a promise; package.test.ts holds the list. */
export { ShoalError, type ShoalErrorCode } from '../base/errors.ts';
export type { HotPage } from '../cpu/index.ts';
export type {
  ManagerCounters,
  MemoryMap,
  PageCounts,
  PageExplanation,
  PageHolder,
  PageReason,
  PageStateName,
  PoolMemory,
  VmLimits,
  VmMemory,
  VmProfile,
  VmState,
} from '../vm/types.ts';
export type { ConsoleSession, VmConsole } from './console.ts';
export type { Exec, ExecInput, ExecOptions, ExecResult, ExecStdin } from './exec.ts';
export type { FileRead, VmFiles } from './files.ts';
export { type ConnectOptions, Host, type HostOptions, type RestoreOptions, type SwapSettings } from './host.ts';
export type { LimitOptions } from './limits.ts';
export type { BuildProgress, CreateOptions } from './machine-spec.ts';
export type { OutputStream } from './output.ts';
export type {
  FileEntry,
  FileStat,
  HostEvent,
  HostInfo,
  HostOverview,
  ManagerSettings,
  SnapshotResult,
  VmInfo,
} from './protocol.ts';
export type { Size } from './size.ts';
export type { ForkOptions, SnapshotOptions, Vm } from './vm.ts';
