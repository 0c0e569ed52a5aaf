import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ExhaustionWatch } from './exhaustion-watch.ts';
import type { PoolEvent, VmEvent, VmHandle, VmState } from './types.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function machine(name: string) {
  let tell: (event: VmEvent) => void = () => {};
  const vm = {
    config: { name },
    state: 'running' as VmState,
    onEvent(listener: (event: VmEvent) => void) {
      tell = listener;
      return () => {};
    },
  };
  const become = (state: VmState): void => {
    vm.state = state;
    tell({ kind: 'state', state });
  };
  return { vm: vm as unknown as VmHandle, become };
}

it('M36: says once that the pool is exhausted, and when it no longer is', () => {
  const one = machine('one');
  const two = machine('two');
  const watch = new ExhaustionWatch(() => [one.vm, two.vm]);
  const events: PoolEvent[] = [];
  watch.onEvent((event) => events.push(event));
  watch.watch(one.vm);
  watch.watch(two.vm);

  one.become('waiting');
  vi.advanceTimersByTime(900);
  one.become('running');
  vi.advanceTimersByTime(5000);
  expect(events).toEqual([]);

  one.become('waiting');
  two.become('waiting');
  vi.advanceTimersByTime(5000);
  expect(events).toEqual([{ kind: 'memory-exhausted', waiting: ['one', 'two'], allWait: true }]);

  two.become('stopped');
  one.become('running');
  expect(events.at(-1)).toEqual({ kind: 'memory-available' });
});
