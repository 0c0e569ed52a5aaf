/** From a program counter to the slot of its µop, as code. The entry of the fetch TLB is `tlbEntry` of FETCH_TLB. */
import { SLOT_IMMEDIATE } from '../../layout/micro-op.ts';
import { TLB_ADDEND } from '../../layout/thread-block.ts';
import { type I32, type I64, i32, i64 } from '../../wasm/index.ts';
import { PAGE_MASK } from '../instructions/memory-emit.ts';

export const fetchMisses = (entry: I32, pc: I64): I32 => i64.ne(i64.load(entry), i64.and(pc, PAGE_MASK));
export const decodedPageOf = (entry: I32): I32 => i32.load(entry, TLB_ADDEND);
/** Four bytes of slots stand for one of code. */
export const slotOf = (entry: I32, pc: I64): I32 => i32.add(decodedPageOf(entry), i32.shl(i32.and(i32.wrap(pc), 4095), 2));
/** Of a slot whose operation is REGION: where the region is in the table. */
export const regionIndexOf = (slot: I32): I32 => i32.load(slot, SLOT_IMMEDIATE);
