/** The real guest agent in the shape that the host wants. */
import { AgentClient } from '../vm/agent/index.ts';
import type { VmHandle } from '../vm/types.ts';
import type { GuestAgent } from './guest-agent.ts';

export async function connectGuestAgent(vm: VmHandle): Promise<GuestAgent> {
  const agent = await AgentClient.connect(vm);
  return {
    exec: async ({ command, cwd, env, user, stdin, tty }) =>
      agent.exec(command, {
        stdin,
        ...(cwd === undefined ? {} : { cwd }),
        ...(env === undefined ? {} : { env }),
        ...(user === undefined ? {} : { user }),
        ...(tty === undefined ? {} : { tty }),
      }),
    readFile: (path) => agent.files.read(path),
    writeFile: (path, data, mode) => agent.files.write(path, data, mode === undefined ? {} : { mode }),
    listFiles: (path) => agent.files.list(path),
    statFile: (path) => agent.files.stat(path),
    makeDirectory: (path, options) => agent.files.mkdir(path, options),
    removeFile: (path, recursive) => agent.files.remove(path, { recursive }),
    powerOff: () => agent.powerOff(),
  };
}
