import { describe, expect, it } from 'vitest';
import type { Step } from '../src/api';
import { knownLoss, lossOf, regionLoss } from '../src/ui/reading';

const step = (index: number, losses: Step['losses']): Step => ({ index, losses }) as Step;
const STEPS = [step(0, { a: { cat: 0.8, dog: 0.5 } }), step(1, { a: { cat: 0.4 }, b: { cat: 0.2 } }), step(2, {})];

describe("a region's own loss", () => {
  it('is the mean over the branches that were asked, of this region alone', () => {
    expect(lossOf(STEPS[1], 'cat')).toBeCloseTo(0.3);
    expect(lossOf(STEPS[1], 'dog')).toBeNull();
  });
  it('is that of the last step at which it was read, and says which', () => {
    expect(knownLoss(STEPS, 2, 'cat')).toEqual({ loss: expect.closeTo(0.3), index: 1 });
    expect(knownLoss(STEPS, 0, 'cat')).toEqual({ loss: 0.8, index: 0 });
    expect(knownLoss(STEPS, 2, 'dog')).toEqual({ loss: 0.5, index: 0 });
    expect(regionLoss(STEPS, 2, 'dog')).toBe(0.5);
  });
  it('is not made up for a thing that was not in the run', () => {
    expect(knownLoss(STEPS, 2, 'bird')).toBeNull();
  });
});
