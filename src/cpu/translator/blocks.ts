/**
 * The code of a region: what can be reached from its entry without leaving the page, as basic blocks in reverse postorder with their
 * dominators.
 *
 * An edge that would make the flow irreducible (back into a loop beside its head) is cut: there the region is left, and whatever is translated at
 * the target goes on. So every loop has one head, and structured control flow can express all that is left.
 */
import { decode, type Instruction } from '../instructions/decode.ts';
import { TRAITS } from '../instructions/traits.ts';

const PAGE_BYTES = 4096;

/** An instruction and its place in the page. */
export interface Placed extends Instruction {
  readonly at: number;
}

/** Where a block goes: to blocks of the region by their offset, else out. */
export interface Block {
  readonly at: number;
  readonly instructions: readonly Placed[];
  /** Offset behind the last instruction. */
  readonly end: number;
  /** Blocks that it may go to. What it goes to and is not here is outside. */
  readonly successors: readonly number[];
}

export interface Flow {
  readonly entry: number;
  readonly blocks: ReadonlyMap<number, Block>;
  /** Offsets in reverse postorder: the entry first, a dominator before what it dominates. */
  readonly order: readonly number[];
  /** The place in `order`. */
  readonly rank: ReadonlyMap<number, number>;
  /** By block: those that come into it, and those that it alone leads to (children in the dominator tree), in order. */
  readonly predecessors: ReadonlyMap<number, readonly number[]>;
  readonly dominated: ReadonlyMap<number, readonly number[]>;
}

/** The instruction at an offset of the page; undefined where there is none that the region may have. */
function instructionAt(code: DataView, at: number): Placed | undefined {
  if (at < 0 || at + 2 > PAGE_BYTES) return undefined;
  const first = code.getUint16(at, true);
  const isCompressed = (first & 3) !== 3;
  if (!isCompressed && at + 4 > PAGE_BYTES) return undefined;
  const instruction = decode(isCompressed ? first : first | (code.getUint16(at + 2, true) << 16));
  return instruction && { ...instruction, at };
}

/** The region at `entry`, with at most about so many instructions; null when there is none, or nothing is done but by the hart. */
export function findFlow(code: DataView, entry: number, instructionsMax: number): Flow | null {
  const first = instructionAt(code, entry);
  if (!first || (TRAITS[first.op].isSystem && TRAITS[first.op].endsRegion)) return null;
  const { leaders, instructions } = findInstructions(code, entry, instructionsMax);
  const blocks = new Map([...leaders].map((at) => [at, blockAt(at, leaders, instructions)]));
  for (;;) {
    const flow = orderOf(blocks, entry);
    const cut = irreducible(flow);
    if (cut.length === 0) return flow;
    for (const [from, to] of cut) {
      const block = blocks.get(from) as Block;
      blocks.set(from, { ...block, successors: block.successors.filter((at) => at !== to) });
    }
  }
}

/** Where direct jumps of the region lead, and its instructions by offset, breadth first, until there are enough. */
function findInstructions(code: DataView, entry: number, instructionsMax: number) {
  const leaders = new Set([entry]);
  const instructions = new Map<number, Placed>();
  const work = [entry];
  for (let next = work.shift(); next !== undefined && instructions.size < instructionsMax; next = work.shift()) {
    for (let at = next; !instructions.has(at) && instructions.size < instructionsMax; ) {
      const instruction = instructionAt(code, at);
      if (!instruction) break;
      instructions.set(at, instruction);
      at += instruction.length;
      const targets = targetsOf(instruction);
      if (targets === null) continue;
      for (const target of targets) {
        if (leaders.has(target)) continue;
        leaders.add(target);
        work.push(target);
      }
      break;
    }
  }
  for (const at of leaders) if (!instructions.has(at)) leaders.delete(at);
  return { leaders, instructions };
}

/** Offsets in this page; none if the region ends there; null: only to the instruction behind it. */
function targetsOf({ op, at, imm, length }: Placed): number[] | null {
  const { flow, endsRegion } = TRAITS[op];
  if (flow === 'next') return endsRegion ? [] : null;
  if (flow === 'indirect') return [];
  const targets = flow === 'branch' ? [at + length, at + imm] : [at + imm];
  return targets.filter((target) => target >= 0 && target < PAGE_BYTES);
}

/** From a leader to the next one, or to where the flow parts. */
function blockAt(start: number, leaders: ReadonlySet<number>, instructions: ReadonlyMap<number, Placed>): Block {
  const block: Placed[] = [];
  let end = start;
  for (let next = instructions.get(start); next; next = instructions.get(end)) {
    block.push(next);
    end += next.length;
    const targets = targetsOf(next) ?? (leaders.has(end) ? [end] : null);
    if (targets !== null)
      return { at: start, instructions: block, end, successors: [...new Set(targets)].filter((to) => leaders.has(to)) };
  }
  return { at: start, instructions: block, end, successors: [] };
}

function orderOf(blocks: ReadonlyMap<number, Block>, entry: number): Flow {
  const order = reversePostorder(blocks, entry);
  const rank = new Map(order.map((at, i) => [at, i]));
  const predecessors = new Map<number, number[]>(order.map((at) => [at, []]));
  for (const at of order) for (const to of (blocks.get(at) as Block).successors) predecessors.get(to)?.push(at);
  const dominated = new Map<number, number[]>(order.map((at) => [at, []]));
  const dominators = dominatorsOf(order, rank, predecessors);
  for (const at of order.slice(1)) dominated.get(dominators.get(at) as number)?.push(at);
  return { entry, blocks, order, rank, predecessors, dominated };
}

function reversePostorder(blocks: ReadonlyMap<number, Block>, entry: number): number[] {
  const order: number[] = [];
  const seen = new Set([entry]);
  // A stack of its own: a region may be deep.
  const stack: { at: number; next: number }[] = [{ at: entry, next: 0 }];
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const successors = (blocks.get(top.at) as Block).successors;
    // The last first, so that what falls through comes right behind.
    const to = successors[successors.length - 1 - top.next++];
    if (to === undefined) {
      order.push(top.at);
      stack.pop();
    } else if (!seen.has(to)) {
      seen.add(to);
      stack.push({ at: to, next: 0 });
    }
  }
  return order.reverse();
}

/** Immediate dominators, by going round until nothing changes (Cooper, Harvey, Kennedy 2001). */
function dominatorsOf(
  order: readonly number[],
  rank: ReadonlyMap<number, number>,
  predecessors: ReadonlyMap<number, readonly number[]>,
): ReadonlyMap<number, number> {
  const dominators = new Map([[order[0], order[0]]]);
  const rankOf = (at: number): number => rank.get(at) as number;
  const common = (a: number, b: number): number => {
    let [x, y] = [a, b];
    while (x !== y) {
      if (rankOf(x) > rankOf(y)) x = dominators.get(x) as number;
      else y = dominators.get(y) as number;
    }
    return x;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const at of order.slice(1)) {
      const known = (predecessors.get(at) ?? []).filter((from) => dominators.has(from));
      const dominator = known.reduce(common);
      if (dominators.get(at) === dominator) continue;
      dominators.set(at, dominator);
      changed = true;
    }
  }
  return dominators;
}

/** Bytes of guest code in the region, each once. */
export function codeBytesOf({ order, blocks }: Flow): number {
  const lengths = new Map<number, number>();
  for (const at of order) for (const { at: place, length } of (blocks.get(at) as Block).instructions) lengths.set(place, length);
  return lengths.values().reduce((sum, length) => sum + length, 0);
}

/** An edge back in the order. */
export const isBack = ({ rank }: Flow, from: number, to: number): boolean =>
  (rank.get(to) as number) <= (rank.get(from) as number);

/** Edges back whose target does not dominate where they come from. */
function irreducible(flow: Flow): [number, number][] {
  const parent = new Map<number, number>();
  for (const [at, children] of flow.dominated) for (const child of children) parent.set(child, at);
  const dominates = (a: number, b: number): boolean => {
    for (let at: number | undefined = b; at !== undefined; at = parent.get(at)) if (at === a) return true;
    return false;
  };
  const cut: [number, number][] = [];
  for (const at of flow.order)
    for (const to of (flow.blocks.get(at) as Block).successors)
      if (isBack(flow, at, to) && !dominates(to, at)) cut.push([at, to]);
  return cut;
}
