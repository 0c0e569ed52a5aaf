import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type RegionRequest, TranslationStatistics } from '../../cpu/index.ts';
import { ASKED, BATCH, BELL_WORDS } from './channel.ts';
import { TranslatorClient } from './client.ts';

let client: TranslatorClient;
let translator: MessagePort;
let answered: SharedArrayBuffer;
let bell: SharedArrayBuffer;

beforeEach(() => {
  const { port1, port2 } = new MessageChannel();
  answered = new SharedArrayBuffer(4);
  bell = new SharedArrayBuffer(4 * BELL_WORDS);
  client = new TranslatorClient({ port: port1, answered, bell, statistics: new TranslationStatistics().buffer });
  translator = port2;
});
afterEach(() => translator.close());

const ask = (id: number, ahead: boolean): void =>
  client.request({ id, domain: 0, hash: 1, code: new Uint8Array(4096), entry: 2 * id, vm: 0, ahead });
const posted = (): number[] | undefined =>
  (receiveMessageOnPort(translator)?.message as RegionRequest[] | undefined)?.map(({ id }) => id);

it('a question is posted at once, and counted where the translator looks', () => {
  ask(1, false);
  ask(2, false);
  expect([posted(), posted(), posted()]).toEqual([[1], [2], undefined]);
  expect(new Int32Array(bell)[ASKED]).toBe(2);
});

it('what is asked ahead goes with the next question, or when it fills a module', () => {
  ask(1, true);
  expect(posted()).toBe(undefined);
  ask(2, false);
  expect(posted()).toEqual([1, 2]);
  for (let id = 0; id < BATCH; id++) ask(id, true);
  expect(posted()).toHaveLength(BATCH);
  expect(new Int32Array(bell)[ASKED]).toBe(2);
});

it('answers are taken when their count says that there is one', () => {
  const answer = { id: 7, module: null, moduleId: 0, name: '', bytes: 0, codeBytes: 0, vm: 0 };
  translator.postMessage(answer);
  expect(client.take()).toBe(undefined);
  Atomics.add(new Int32Array(answered), 0, 1);
  expect([client.take(), client.take()]).toEqual([answer, undefined]);
});
