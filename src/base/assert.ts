/** Checks what must hold. A failure is a bug of Shoal's, never of its input: bad input gets a `ShoalError`. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
