import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { AgentClient, type ExecOptions } from './client.ts';
import { LocalGuest } from './testing/local-guest.ts';

async function connect(): Promise<{ guest: LocalGuest; agent: AgentClient }> {
  const guest = new LocalGuest();
  return { guest, agent: await AgentClient.connect(guest.vm) };
}

async function text(stream: AsyncIterable<Uint8Array>): Promise<string> {
  return Buffer.concat(await collect(stream)).toString();
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
}

async function run(agent: AgentClient, command: string | string[], options: ExecOptions & { input?: string } = {}) {
  const { input, ...rest } = options;
  const process = await agent.exec(command, { ...rest, stdin: input !== undefined });
  if (input !== undefined) await process.stdin.write(Buffer.from(input)).then(() => process.stdin.end());
  const [stdout, stderr, exit] = await Promise.all([text(process.stdout), text(process.stderr), process.exit]);
  return { stdout, stderr, ...exit };
}

test('a command gives its streams apart and its exit code', async () => {
  const { agent } = await connect();
  expect(await run(agent, 'echo out; echo err >&2; exit 7')).toEqual({
    stdout: 'out\n',
    stderr: 'err\n',
    exitCode: 7,
    signal: null,
    timedOut: false,
  });
});

test('arguments reach the program byte for byte', async () => {
  const { agent } = await connect();
  const words = ["it's", 'a\nb', '$HOME `id` "x" \\', '', 'é'];
  expect((await run(agent, ['printf', '%s|', ...words])).stdout).toBe(`${words.join('|')}|`);
});

test('working directory and environment are set, and a missing directory is an exit code', async () => {
  const { agent } = await connect();
  expect((await run(agent, 'pwd; printf %s "$A"', { cwd: '/tmp', env: { A: "b'c\nd" } })).stdout).toBe("/tmp\nb'c\nd");
  expect((await run(agent, 'true', { cwd: '/nowhere' })).exitCode).toBe(126);
});

test('a missing command is 127', async () => {
  const { agent } = await connect();
  expect((await run(agent, ['no-such-program'])).exitCode).toBe(127);
});

test('standard input is read to its end', async () => {
  const { agent } = await connect();
  expect((await run(agent, 'cat; echo end', { input: 'some bytes\n' })).stdout).toBe('some bytes\nend\n');
  expect((await run(agent, 'cat; echo end')).stdout).toBe('end\n');
});

test('a timeout kills the group, and says so', async () => {
  const { agent } = await connect();
  expect(await run(agent, 'sleep 20 & sleep 20', { timeoutMs: 100 })).toMatchObject({
    exitCode: 137,
    signal: 'SIGKILL',
    timedOut: true,
  });
});

test('a signal ends a process; abort does too', async () => {
  const { agent } = await connect();
  const process = await agent.exec('exec sleep 20');
  await process.kill('SIGTERM');
  expect(await process.exit).toMatchObject({ exitCode: 143, signal: 'SIGTERM', timedOut: false });
  const abort = new AbortController();
  const other = await agent.exec('exec sleep 20', { signal: abort.signal });
  abort.abort();
  expect(await other.exit).toMatchObject({ signal: 'SIGKILL' });
  await expect(process.kill('SIGNOTHING')).rejects.toMatchObject({ code: 'bad-argument' });
});

test('more commands than ports: the others wait, all finish, and every port comes back', async () => {
  const { agent, guest } = await connect();
  const results = await Promise.all(Array.from({ length: 40 }, (_, n) => run(agent, `read x; echo ${n} $x`, { input: 'in\n' })));
  expect(results.map(({ stdout }) => stdout)).toEqual(Array.from({ length: 40 }, (_, n) => `${n} in\n`));
  expect(guest.portsOpenedMax).toBe(48);
  await sleep(10);
  expect(guest.openDataPorts).toBe(0);
});

test('a command that waits for ports can be aborted', async () => {
  const { agent } = await connect();
  const holders = await Promise.all(Array.from({ length: 16 }, () => agent.exec('exec sleep 20', { stdin: true })));
  const abort = new AbortController();
  const waiting = agent.exec('true', { signal: abort.signal });
  abort.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
  for (const holder of holders) await holder.kill('SIGKILL');
});

test('a reader that leaves early does not stall the process', async () => {
  const { agent } = await connect();
  const process = await agent.exec('head -c 1000000 /dev/zero; exit 3');
  for await (const _ of process.stdout) break;
  void process.stderr.discard();
  expect((await process.exit).exitCode).toBe(3);
});

test('writing to a process that has ended is refused', async () => {
  const { agent } = await connect();
  const process = await agent.exec('true', { stdin: true });
  await process.exit;
  await expect(process.stdin.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'wrong-state' });
  const without = await agent.exec('true');
  await expect(without.stdin.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'wrong-state' });
});

test('when the guest dies, everything that waits is rejected', async () => {
  const { agent, guest } = await connect();
  const process = await agent.exec('exec sleep 20', { stdin: true });
  const reading = text(process.stdout);
  guest.die();
  await expect(reading).rejects.toMatchObject({ code: 'agent-unavailable' });
  await expect(process.exit).rejects.toMatchObject({ code: 'agent-unavailable' });
  await expect(agent.exec('true')).rejects.toMatchObject({ code: 'agent-unavailable' });
  expect((await agent.closed) as { code?: string }).toMatchObject({ code: 'agent-unavailable' });
});

test('an agent that starts anew, or speaks another version, is not trusted', async () => {
  const { agent, guest } = await connect();
  guest.say('hello 1');
  expect((await agent.closed).message).toMatch(/started anew/);
  await expect(agent.exec('true')).rejects.toMatchObject({ code: 'agent-unavailable' });
});

test('a guest that never answers is given up in time', async () => {
  const guest = new LocalGuest();
  const silent = { ...guest.vm, openPort: () => new Promise(() => {}) } as unknown as typeof guest.vm;
  await expect(AgentClient.connect(silent, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'timeout' });
  const abort = AbortSignal.abort();
  await expect(AgentClient.connect(silent, { signal: abort })).rejects.toMatchObject({ code: 'aborted' });
});

test('names that would be code are refused', async () => {
  const { agent } = await connect();
  await expect(agent.exec('true', { env: { 'A;B': '' } })).rejects.toThrow(/environment/);
  await expect(agent.exec('true', { user: 'a b' })).rejects.toThrow(/user/);
  await expect(agent.exec([])).rejects.toThrow(/program/);
  await expect(agent.exec('a\0b')).rejects.toThrow(/NUL/);
});
