/** One thread plays all: whoever waits is simply tried again when the scheduler picks it. */
export function waitWhile(_words: Int32Array, _index: number, _value: number, _timeoutMs?: number): void {
  throw new Error('a simulated thread must yield, not block');
}

export function wake(_words: Int32Array, _index: number, _count: number): void {}
