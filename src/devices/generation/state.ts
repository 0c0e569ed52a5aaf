/** Saved form of the generation id. */
export const GENERATION_STATE_VERSION = 1;

export interface GenerationState {
  readonly id: readonly number[];
  readonly changed: boolean;
}
