/** Errors across the socket: the code and the sentence travel, nothing else. */
import { z } from 'zod';
import { ShoalError, type ShoalErrorCode } from '../base/errors.ts';

const CODES: Readonly<Record<ShoalErrorCode, number>> = {
  'bad-argument': 400,
  'bad-kernel': 400,
  'bad-image': 400,
  'bad-disk': 400,
  'bad-snapshot': 422,
  'not-found': 404,
  'name-taken': 409,
  'wrong-state': 409,
  'no-memory': 507,
  'no-space': 507,
  'no-apt': 501,
  'agent-unavailable': 503,
  'host-unreachable': 503,
  'host-running': 409,
  protocol: 400,
  timeout: 504,
  aborted: 499,
  'guest-fault': 500,
  unsupported: 501,
};

const wireErrorSchema = z.object({ code: z.string(), message: z.string() });
export type WireError = z.infer<typeof wireErrorSchema>;

export function toWire(error: unknown): WireError {
  if (error instanceof ShoalError) return { code: error.code, message: error.message };
  // Not one of ours: a bug, or the system's. The text still helps whoever asked.
  const text = error instanceof Error ? error.message : String(error);
  return { code: 'guest-fault', message: `The host failed to do that: ${text}` };
}

/** A ShoalError again. Codes of a newer host that we do not know become `protocol`. */
export function fromWire(value: unknown): ShoalError {
  const parsed = wireErrorSchema.safeParse(value);
  if (!parsed.success) return new ShoalError('protocol', 'The host answered with an error that cannot be read.');
  const code = Object.hasOwn(CODES, parsed.data.code) ? (parsed.data.code as ShoalErrorCode) : 'protocol';
  return new ShoalError(code, parsed.data.message);
}

/** HTTP status for a wire error. */
export function httpStatus(error: WireError): number {
  return CODES[error.code as ShoalErrorCode] ?? 500;
}
