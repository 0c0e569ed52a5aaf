/** The real guest agent in the shape that the host wants. */
import { ShoalError } from '../base/errors.ts';
import { AgentClient, type FileEntry as AgentFileEntry } from '../vm/agent/index.ts';
import type { VmHandle } from '../vm/types.ts';
import type { AgentProcess, GuestAgent } from './guest-agent.ts';
import type { ExecRequest, FileEntry } from './protocol.ts';

export async function connectGuestAgent(vm: VmHandle): Promise<GuestAgent> {
  const agent = await AgentClient.connect(vm);
  return {
    exec: (request) => startProcess(agent, request),
    readFile: (path) => agent.files.read(path),
    writeFile: (path, data, mode) => agent.files.write(path, data, mode === undefined ? {} : { mode }),
    listFiles: async (path) => (await agent.files.list(path)).map(fileEntry),
    statFile: async (path) => fileEntry(await agent.files.stat(path)),
    makeDirectory: (path, { recursive, mode }) => agent.files.mkdir(path, { recursive, ...(mode === undefined ? {} : { mode }) }),
    removeFile: (path, recursive) => agent.files.remove(path, { recursive }),
    setClock: (msSince1970) => setClock(agent, msSince1970),
    powerOff: () => agent.powerOff(),
    closed: agent.closed,
    close: () => agent.close(),
  };
}

async function startProcess(agent: AgentClient, { command, cwd, env, user, stdin, tty }: ExecRequest): Promise<AgentProcess> {
  const process = await agent.exec(command, {
    stdin,
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
    ...(user === undefined ? {} : { user }),
    ...(tty === undefined ? {} : { tty }),
  });
  return {
    stdin: {
      write: async (data) => {
        try {
          await process.stdin.write(data);
        } catch (error) {
          // It ended, or it reads nothing: as with a pipe to nowhere, its exit says the rest.
          if (!(error instanceof ShoalError && error.code === 'wrong-state')) throw error;
        }
      },
      end: () => process.stdin.end(),
    },
    stdout: process.stdout,
    stderr: process.stderr,
    exit: process.exit,
    kill: (signal) => process.kill(signal),
    resize: ({ columns, rows }) => process.resize(columns, rows),
  };
}

/** With a form that both busybox and coreutils know. */
async function setClock(agent: AgentClient, msSince1970: number): Promise<void> {
  const { stdout, stderr, exit } = await agent.exec(['date', '-s', `@${Math.floor(msSince1970 / 1000)}`], { stdin: false });
  for (const output of [stdout, stderr]) for await (const _ of output);
  await exit;
}

function fileEntry({ name, kind, size, mode, uid, gid, modifiedMs }: AgentFileEntry): FileEntry {
  return { name, kind, size, mode, uid, gid, modifiedAtMs: modifiedMs };
}
