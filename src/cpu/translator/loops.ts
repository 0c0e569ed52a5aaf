/**
 * The loops of a region that registers stay in locals for: outermost ones that ask nothing of the hart on their way.
 *
 * A loop goes round only by direct jumps inside the page, so that a time around it leaves the region nowhere. A loop in which there is a CSR
 * instruction, whose registers are read and written in memory, is none of these, but loops inside it may be.
 */
import { TRAITS } from '../instructions/traits.ts';
import { type Block, type Flow, isBack } from './blocks.ts';

export interface Loop {
  readonly head: number;
  readonly blocks: ReadonlySet<number>;
}

/** The loop that a block is in, by block. */
export function findLoops(flow: Flow): ReadonlyMap<number, Loop> {
  const loopOf = new Map<number, Loop>();
  for (const head of flow.order) {
    if (loopOf.has(head)) continue;
    const blocks = bodyOf(flow, head);
    if (blocks.size === 0 || [...blocks].some((at) => asksTheHart(flow.blocks.get(at) as Block))) continue;
    const loop = { head, blocks };
    for (const at of blocks) loopOf.set(at, loop);
  }
  return loopOf;
}

/** All that can come back to the head without passing it; nothing, if no edge leads back to it. */
function bodyOf(flow: Flow, head: number): Set<number> {
  const back = (flow.predecessors.get(head) as readonly number[]).filter((from) => isBack(flow, from, head));
  const body = new Set(back);
  for (const at of body) {
    if (at === head) continue;
    for (const from of flow.predecessors.get(at) as readonly number[]) body.add(from);
  }
  return body;
}

const asksTheHart = ({ instructions }: Block): boolean => instructions.some(({ op }) => TRAITS[op].isSystem);
