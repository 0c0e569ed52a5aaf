/**
 * Which accesses of a loop look in a cache of one page before the TLB (`PageCache`): those by one base register and of one kind have one
 * together, as they are mostly in one page.
 *
 * A wrong guess costs a mispredicted branch, so a register that goes on by large steps, or that follows pointers, has none.
 */
import { TRAITS } from '../instructions/traits.ts';
import type { Block, Flow, Placed } from './blocks.ts';
import type { Loop } from './loops.ts';

/** Caches of a loop; each is two locals. */
const PAGES_MAX = 8;
/** Bytes: with smaller steps a page lasts for many. */
const SMALL_STEP = 128;

export function pageKey({ op, rs1 }: Placed): string | undefined {
  const { memory, writesRd, writesFd } = TRAITS[op];
  return memory ? `${writesRd || writesFd ? 'load' : 'store'} ${rs1}` : undefined;
}

/** Those with the most accesses. */
export function pagesWorthKeeping(loop: Loop, { blocks }: Flow): string[] {
  const instructions = [...loop.blocks].flatMap((at) => (blocks.get(at) as Block).instructions);
  const writers = Map.groupBy(
    instructions.filter(({ op }) => TRAITS[op].writesRd),
    ({ rd }) => rd,
  );
  const sites = new Map<string, number>();
  for (const instruction of instructions) {
    const key = pageKey(instruction);
    if (key !== undefined && !leaps(writers.get(instruction.rs1) ?? [])) sites.set(key, (sites.get(key) ?? 0) + 1);
  }
  const most = [...sites].sort(([, a], [, b]) => b - a).slice(0, PAGES_MAX);
  return most.map(([key]) => key);
}

/** Whether a register that is written by these is likely to be in another page each time. */
function leaps(writers: readonly Placed[]): boolean {
  const leapsSurely = ({ op, rd, rs1, imm }: Placed): boolean =>
    rd === rs1 && (op === 'ld' || (op === 'addi' && Math.abs(imm) >= SMALL_STEP));
  if (writers.some(leapsSurely)) return true;
  const [only] = writers;
  return writers.length === 1 && (only?.op === 'add' || only?.op === 'sub') && (only.rd === only.rs1 || only.rd === only.rs2);
}
