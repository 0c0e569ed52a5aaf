/** What the memory worker and the main thread tell each other, beside settings (settings.ts) and counts (host-memory). */
import type { SharedImage } from '../disk/index.ts';

export type DecisionAction = 'zero' | 'share' | 'drop' | 'balloon' | 'compress' | 'swap' | 'move';

export interface WorkerDecision {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Slot of the VM, or -1 for all. */
  readonly slot: number;
  readonly action: DecisionAction;
  readonly pages: number;
  readonly reason: string;
}

export type WorkerMessage =
  | { readonly kind: 'decisions'; readonly decisions: readonly WorkerDecision[] }
  | { readonly kind: 'swap-full' }
  | { readonly kind: 'swap-available' };

export type WorkerOrder =
  /** The images that are open now. */
  { readonly kind: 'images'; readonly images: readonly SharedImage[] };
