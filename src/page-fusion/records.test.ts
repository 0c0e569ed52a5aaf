/** Records of frames against a plain map: whatever frames become, a live one is found by its hash. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { smallPool } from '../guest-memory/test-guest.ts';
import { FRAME_SHARED, frameWord, REFERENCES_MAX } from '../host-memory/frame-entry.ts';
import { becomePrivate, becomeShared, frameEntry } from '../host-memory/frame-table.ts';
import { FrameRecords, RECORD_PRIVATE, RECORD_SHARED } from './records.ts';

const FRAMES = 512;
/** No VM of the test. */
const OTHER_VM = 7;

/** One step: this frame gets a page with this hash; negative: it becomes another VM's. */
const steps = fc.array(fc.tuple(fc.nat(FRAMES - 1), fc.integer({ min: -8, max: 40 })), { minLength: 1, maxLength: 4000 });

describe('records of frames', () => {
  it('M64: every live frame is found by its hash, through stale places and rebuilds, and no dead one is', () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const host = smallPool({ poolBytes: 2 * 2 ** 20 });
        const records = new FrameRecords(host);
        const model = new Map<number, number>();
        for (const [index, hash] of sequence) {
          const frame = host.firstFrame + index;
          becomePrivate(host, frame, hash < 0 ? OTHER_VM : 0, index);
          if (hash < 0) {
            model.delete(frame);
            continue;
          }
          records.set(frame, RECORD_PRIVATE, Math.imul(hash, 0x9e37), hash, 1, 0, index);
          records.insert(frame);
          model.set(frame, hash);
        }
        for (let hash = 0; hash <= 40; hash++) {
          const frames = [...model].filter(([, other]) => other === hash).map(([frame]) => frame);
          for (const except of [0, frames[0] ?? 0]) {
            const found = records.find(Math.imul(hash, 0x9e37), hash, except);
            const expected = frames.filter((frame) => frame !== except);
            expect(found === 0 ? expected : [found].filter((frame) => !expected.includes(frame))).toEqual([]);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('M64: a shared frame is found in its own life only, and not when it has all the references it can have', () => {
    const host = smallPool({ poolBytes: 2 * 2 ** 20 });
    const records = new FrameRecords(host);
    const frame = host.firstFrame + 3;
    becomeShared(host, frame, 2);
    const generation = host.sharedGeneration(frame);
    records.set(frame, RECORD_SHARED, 5, 6, generation, 0, 0);
    records.insert(frame);
    expect(records.find(5, 6, 0)).toBe(frame);
    host.words[frameEntry(host, frame)] = frameWord(FRAME_SHARED, generation, REFERENCES_MAX);
    expect(records.find(5, 6, 0)).toBe(0);
    becomeShared(host, frame, 2);
    expect(records.find(5, 6, 0)).toBe(0);
    records.forgetDead();
    // 2^12 lives later the generation is what it was: the record is gone by then.
    for (let i = 1; i < 2 ** 12; i++) becomeShared(host, frame, 2);
    expect(host.sharedGeneration(frame)).toBe(generation);
    expect(records.find(5, 6, 0)).toBe(0);
  });
});
