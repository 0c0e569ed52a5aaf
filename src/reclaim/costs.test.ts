import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Costs, WAYS, type Way } from './costs.ts';

const BYTES = 4096;
const way = fc.constantFrom(...WAYS);
const event = fc.record({ way, pages: fc.nat(5000), us: fc.nat(1_000_000), back: fc.nat(5000), refused: fc.nat(5000) });

function tell(costs: Costs, one: { way: Way; pages: number; us: number; back: number; refused: number }): void {
  costs.putAway(one.way, one.pages, one.us, one.pages * BYTES);
  costs.cameBack(one.way, one.back);
  for (let i = 0; i < Math.min(one.refused, one.pages); i += 100) costs.refused(one.way, BYTES);
}

describe('costs', () => {
  it('M69: begins with what is likely: drop, then the balloon, then compress, then swap', () => {
    expect(new Costs().order()).toEqual(['drop', 'balloon', 'compress', 'swap']);
  });

  it('M69: the order is by cost for a byte, whatever happens, and costs stay numbers above zero', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const costs = new Costs();
        for (const one of events) tell(costs, one);
        const order = costs.order().map((one) => costs.perByte(one));
        for (const cost of order) expect(cost > 0 && Number.isFinite(cost)).toBe(true);
        expect(order).toEqual([...order].sort((a, b) => a - b));
        expect([...costs.order()].sort()).toEqual([...WAYS].sort());
      }),
    );
  });

  it('M69: looking for pages and finding none says nothing', () => {
    const costs = new Costs();
    const before = WAYS.map((one) => costs.perByte(one));
    for (let i = 0; i < 10_000; i++) costs.putAway('drop', 0, 50, 0);
    expect(WAYS.map((one) => costs.perByte(one))).toEqual(before);
  });

  it('M69: pages that come back, or that owners refuse, make a way dearer; old ones are forgotten', () => {
    const costs = new Costs();
    costs.putAway('compress', 1000, 12_000, 1000 * 2048);
    const before = costs.perByte('compress');
    for (let i = 0; i < 500; i++) costs.refused('compress', 2048);
    const refused = costs.perByte('compress');
    costs.cameBack('compress', 1000);
    const back = costs.perByte('compress');
    const other = new Costs();
    other.cameBackSoFar('compress', 700);
    other.cameBackSoFar('compress', 1000);
    const same = new Costs();
    same.cameBack('compress', 1000);
    expect(other.perByte('compress')).toBe(same.perByte('compress'));
    expect(refused).toBeGreaterThan(before);
    expect(back).toBeGreaterThan(refused);
    for (let i = 0; i < 200; i++) costs.putAway('compress', 1000, 12_000, 1000 * 2048);
    expect(costs.perByte('compress')).toBeLessThan(back);
  });
});
