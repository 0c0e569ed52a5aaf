/** The guest agent's client: what the layers above use. */
export { AgentClient, type ConnectOptions, type ExecOptions } from './client.ts';
export type { AgentFiles, FileEntry, FileKind, WriteOptions } from './files.ts';
export { AgentProcess, type ExitStatus } from './process.ts';
