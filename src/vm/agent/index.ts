/** The guest agent's client: what the layers above use. */
export { AgentClient } from './client.ts';
export type { FileEntry } from './files.ts';
export { panicOf } from './panic.ts';
