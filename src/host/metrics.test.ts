/** `/metrics`, read by a parser of our own that forgives nothing, and by Prometheus' own tool where it is installed. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FakePool, type FakeVm, fakeAgent } from '../../test/fakes/fake-pool.ts';
import { TranslationStatistics } from '../cpu/index.ts';
import { HostProcess } from './host-process.ts';
import { LocalService } from './local-service.ts';
import { parseMetricsAddress, serveMetrics } from './metrics-server.ts';

const directory = mkdtempSync(join(tmpdir(), 'shoal-metrics-'));
const socket = join(directory, 'host.sock');
const spec = { memoryBytes: 2 ** 28, kernel: '/kernel', commandLine: '', disks: [], domain: 'default' };
const pool = new FakePool();
const service = new LocalService(pool, 2 ** 30, async () => fakeAgent(directory));
let host: HostProcess;

beforeAll(async () => {
  host = await HostProcess.serve(service, socket, { metrics: { host: '127.0.0.1', port: 0 } });
  for (const name of ['one', 'two']) await service.create({ ...spec, name });
  await service.control('one', 'start');
  await service.setLimits('one', { maximumBytes: 2 ** 27 });
  for (const vm of pool.machines)
    (vm as FakeVm).account = { privateBytes: 4096 * 10, sharedBytes: 4096 * 20, returnedBytes: 12_345 * 4096, cpuMs: 2500 };
  const memory = await pool.memory();
  pool.account = {
    promisedBytes: 2 ** 29,
    framesInUse: 300,
    framesPeak: 400,
    residentBytes: 471 * 2 ** 20,
    manager: { ...memory.manager, cpuMs: 1500, scannedBytes: 2 ** 40, mergedPages: 3, zeroedPages: 2 },
  };
  pool.translated = {
    ...TranslationStatistics.figures([new TranslationStatistics()]),
    asked: 10,
    answered: 9,
    known: 6,
    inherited: 2,
    workMs: 250,
    longestMs: 3,
    madeRegions: 4,
    libraryBytes: 20_000,
  };
});
afterAll(async () => {
  await host.close();
  rmSync(directory, { recursive: true });
});

interface Answer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly text: string;
}

/** Without any header of ours, as a scraper asks. */
function get(where: object, path = '/metrics', method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...where, path, method, agent: false }, async (incoming) => {
      const text = (await incoming.setEncoding('utf8').toArray()).join('');
      resolve({ status: incoming.statusCode, type: incoming.headers['content-type'], text });
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

interface Family {
  readonly help: string;
  readonly type: string;
  /** By labels as they are written, `` for none. */
  readonly samples: Map<string, number>;
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\n"])*"';
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)\\})? (-?[0-9]+(?:\\.[0-9]+)?(?:e[+-]?[0-9]+)?)$`);

/** The text format 0.0.4, of which only what we mean to send is allowed: HELP, TYPE, samples, in this order, each family once. */
function parseExposition(text: string): Map<string, Family> {
  expect(text.endsWith('\n')).toBe(true);
  const families = new Map<string, Family>();
  let help: RegExpExecArray | null = null;
  let current: [name: string, family: Family] | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue;
    const type = /^# TYPE (\S+) (counter|gauge)$/.exec(line);
    if (line.startsWith('# HELP ')) {
      help = new RegExp(`^# HELP (${NAME}) (\\S.*)$`).exec(line);
      expect(help, line).not.toBe(null);
    } else if (type !== null) {
      expect(help?.[1], line).toBe(type[1]);
      expect(families.has(type[1]), `${type[1]} comes twice`).toBe(false);
      current = [type[1], { help: help?.[2] ?? '', type: type[2], samples: new Map() }];
      families.set(...current);
    } else {
      const [, name, labels = '', value] = SAMPLE.exec(line) ?? [];
      expect(name, line).toBe(current?.[0]);
      expect(current?.[1].samples.has(labels), `${line} comes twice`).toBe(false);
      current?.[1].samples.set(labels, Number(value));
    }
  }
  return families;
}

test('every family is in the format, with base units and labels of a bounded set', async () => {
  const { status, type, text } = await get({ socketPath: socket });
  expect([status, type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
  const families = parseExposition(text);
  for (const [name, { type: kind, help, samples }] of families) {
    expect(kind === 'counter', `${name} is a ${kind}`).toBe(name.endsWith('_total'));
    expect(help, name).toMatch(/\.$/);
    expect(name).toMatch(/^(shoal|process)_/);
    expect(name, 'base units').not.toMatch(/_(ms|milliseconds|kib|mib|kilobytes|megabytes|pages|frames|percent)(_total)?$/);
    expect(samples.size, name).toBeGreaterThan(0);
    for (const labels of samples.keys())
      expect(labels).toMatch(/^$|^version="|^(?:vm="(?:one|two)")?,?(?:(?:state|action)="[a-z]+")?$/);
  }
  const value = (name: string, labels = ''): number | undefined => families.get(name)?.samples.get(labels);
  expect(value('shoal_pool_size_bytes')).toBe(2 ** 30);
  expect(value('shoal_pool_used_bytes')).toBe(300 * 4096);
  expect(value('shoal_manager_cpu_seconds_total')).toBe(1.5);
  expect(value('shoal_manager_scanned_bytes_total')).toBe(2 ** 40);
  expect(value('shoal_manager_reclaimed_bytes_total', 'action="share"')).toBe(3 * 4096);
  expect(value('shoal_translation_lookups_total')).toBe(12);
  expect(value('shoal_translation_shared_lookups_total')).toBe(8);
  expect(value('shoal_translation_seconds_total')).toBe(0.25);
  expect(value('shoal_translation_library_bytes')).toBe(20_000);
  expect(value('shoal_vm_memory_bytes', 'vm="one",state="private"')).toBe(40_960);
  expect(value('shoal_vm_cpu_seconds_total', 'vm="one"')).toBe(2.5);
  expect(value('shoal_vm_maximum_bytes', 'vm="one"')).toBe(2 ** 27);
  expect(value('shoal_vm_shares', 'vm="two"')).toBe(100);
  expect(value('shoal_vm_returned_bytes_total', 'vm="two"')).toBe(12_345 * 4096);
  expect(value('shoal_machines', 'state="running"')).toBe(1);
});

test('a host that translates nothing says nothing of it', async () => {
  const { translated } = pool;
  pool.translated = null;
  expect((await get({ socketPath: socket })).text).not.toContain('shoal_translation');
  pool.translated = translated;
});

test('counters do not jump back, and a machine that is gone has no series', async () => {
  const counters = (text: string): [string, number][] =>
    [...parseExposition(text)].flatMap(([name, { type, samples }]) =>
      type === 'counter' ? [...samples].map(([labels, value]): [string, number] => [`${name}{${labels}}`, value]) : [],
    );
  await service.create({ ...spec, name: 'three' });
  const before = (await get({ socketPath: socket })).text;
  expect(before).toContain('vm="three"');
  await service.remove('three');
  const after = (await get({ socketPath: socket })).text;
  expect(after).not.toContain('three');
  const now = new Map(counters(after));
  for (const [series, value] of counters(before))
    if (!series.includes('three')) expect(now.get(series), series).toBeGreaterThanOrEqual(value);
});

test('over TCP there is /metrics and nothing else', async () => {
  const where = host.metrics as { host: string; port: number };
  expect(where.host).toBe('127.0.0.1');
  expect(parseExposition((await get(where)).text).has('shoal_pool_size_bytes')).toBe(true);
  expect((await get(where, '/metrics?x=1')).status).toBe(200);
  expect((await get(where, '/vms')).status).toBe(404);
  expect((await get(where, '/shutdown', 'POST')).status).toBe(404);
  expect((await get(where, '/metrics', 'POST')).status).toBe(405);
  await expect(serveMetrics(service, where)).rejects.toThrow(/another program has it; choose another address/);
});

test('an address is loopback unless it says otherwise', () => {
  expect(parseMetricsAddress('9464')).toEqual({ host: '127.0.0.1', port: 9464 });
  expect(parseMetricsAddress('[::1]:1')).toEqual({ host: '::1', port: 1 });
  expect(parseMetricsAddress('0.0.0.0:80')).toEqual({ host: '0.0.0.0', port: 80 });
  for (const text of ['', 'x', ':9464', '127.0.0.1:', '127.0.0.1:99999', 'a b:1']) {
    expect(() => parseMetricsAddress(text), text).toThrow('HOST:PORT');
  }
});

test('Prometheus’ own checker finds nothing to say', async (context) => {
  const promtool = spawnSync('promtool', ['--version']);
  if (promtool.error) return context.skip('skipped: promtool is not installed (Debian has it in the package prometheus)');
  const { text } = await get({ socketPath: socket });
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
});
