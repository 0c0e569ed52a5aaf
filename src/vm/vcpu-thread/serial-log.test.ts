import { expect, it } from 'vitest';
import { SerialLog } from './serial-log.ts';

it('hands on what came since the last look, and knows a panic that comes in pieces', () => {
  const said: string[] = [];
  const log = new SerialLog((bytes) => said.push(Buffer.from(bytes).toString('latin1')));
  const put = (text: string): void => {
    for (const byte of Buffer.from(text, 'latin1')) log.put(byte);
    log.flush();
  };
  put('');
  put('booting\nKernel panic - not ');
  expect(log.panic).toBe('');
  put('syncing: no init found.\r\nmore\n');
  expect(log.panic).toBe('no init found.');
  put('and more');
  expect(log.panic).toBe('no init found.');
  expect(said).toEqual(['booting\nKernel panic - not ', 'syncing: no init found.\r\nmore\n', 'and more']);
  log.forgetPanic();
  expect(log.panic).toBe('');
});
