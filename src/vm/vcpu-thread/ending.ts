/** How a machine's life ends, once its holds have drained and its memory is gone. */
import { OUTCOME, type TakenRequest } from '../request-queue.ts';

export interface Ending {
  readonly state: 'stopped' | 'failed' | 'reset';
  readonly reason?: string;
  /** It waits for the end. */
  readonly request?: TakenRequest;
}

/** One end was on its way when another was wished for: power-off outranks a reset, and a second wish for the same end is content with it. */
export function joinEndings(earlier: Ending, later: Ending): Ending {
  if (earlier.state === 'reset' && later.state !== 'reset') {
    earlier.request?.complete(OUTCOME.cancelled);
    return later;
  }
  const first = earlier.request;
  const second = later.request;
  if (!second) return earlier;
  const complete: TakenRequest['complete'] = (outcome) => {
    first?.complete(outcome);
    second.complete(outcome);
  };
  return { ...earlier, request: { ...second, complete } };
}
