/**
 * One frame's entry in the frame table: 16 bytes, by frame number.
 *
 *   word 0   state (2 bits) · generation (12) · references (18): one atomic word
 *   word 1   bit 31: holds decoded code · low bits: VM index of a private frame
 *   word 2   private frame: guest page index, or negative while it has none: NO_PAGE, or in a VM's surplus the link to the next
 *            shared frame: number of its image page, or NO_PAGE
 *   word 3   code generation, bumped whenever decoded code of this frame may have become stale
 *
 * The generation moves on each time that a frame begins a life as a shared one: who only remembers (frame, generation)
 * gets a reference if and only if it is still that frame. References of one frame end at 2^18 − 1: more are refused.
 */
import { FRAME_CODE_GENERATION, FRAME_ENTRY_SIZE } from '../layout/arena.ts';

export const FRAME_WORDS = FRAME_ENTRY_SIZE / 4;
export const FRAME_OWNER = 1;
export const FRAME_PAGE = 2;
export const FRAME_CODE = FRAME_CODE_GENERATION / 4;

export const FRAME_FREE = 0;
export const FRAME_PRIVATE = 1;
export const FRAME_SHARED = 2;
/** Its last reference is gone and it is on its way to its chunk. */
export const FRAME_FREEING = 3;

export const NO_PAGE = -1;
/** The link of a chain of frames, in the place of a page; 0 ends the chain. No link looks like a page, nor like NO_PAGE. */
export const chainLink = (next: number): number => -2 - next;
export const nextInChain = (link: number): number => -2 - link;
export const HOLDS_CODE = 0x8000_0000 | 0;

const REFERENCE_BITS = 18;
export const REFERENCES_MAX = (1 << REFERENCE_BITS) - 1;
const GENERATION_MASK = 0xfff;

export const frameState = (word: number): number => word >>> 30;
export const frameGeneration = (word: number): number => (word >>> REFERENCE_BITS) & GENERATION_MASK;
export const frameReferences = (word: number): number => word & REFERENCES_MAX;

export const frameWord = (state: number, generation: number, references: number): number =>
  (state << 30) | ((generation & GENERATION_MASK) << REFERENCE_BITS) | references;

/** The same generation in another state, without references. */
export const frameWordIn = (state: number, word: number): number => frameWord(state, frameGeneration(word), 0);
