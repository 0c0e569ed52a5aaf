/**
 * Every error that Shoal gives on purpose. One code each, and one readable sentence that says what was wrong
 * and what to do; a caller tells them apart by `code`, never by the text.
 */
export type ShoalErrorCode =
  | 'bad-argument'
  | 'bad-kernel'
  | 'bad-image'
  | 'bad-disk'
  | 'bad-snapshot'
  | 'not-found'
  | 'name-taken'
  | 'wrong-state'
  | 'no-memory'
  | 'no-space'
  | 'no-apt'
  | 'agent-unavailable'
  | 'host-unreachable'
  | 'host-running'
  | 'protocol'
  | 'timeout'
  | 'aborted'
  | 'guest-fault'
  | 'unsupported';

export class ShoalError extends Error {
  override readonly name = 'ShoalError';
  readonly code: ShoalErrorCode;

  constructor(code: ShoalErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
