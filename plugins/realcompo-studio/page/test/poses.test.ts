import { describe, expect, it } from 'vitest';
import type { Step } from '../src/api';
import { fitted, mirrored, movedPerson, withJoint, JOINTS, LIMBS } from '../src/model/poses';
import { explained, regionLoss, stayed, story, stretches } from '../src/ui/reading';

const POINTS = { nose: [0.5, 0.2], left_wrist: [0.8, 0.5], right_wrist: [0.2, 0.6] } as const;

describe('people', () => {
  it('stay in the picture with all their joints', () => {
    const moved = movedPerson(POINTS, 5, 5);
    expect(Math.max(...Object.values(moved).map(([x]) => x))).toBe(1);
    expect(moved['left_wrist']![0] - moved['right_wrist']![0]).toBeCloseTo(0.6, 6);
    expect(withJoint(POINTS, 'nose', [-3, 7])['nose']).toEqual([0, 1]);
  });
  it('keep their shape when they are fitted to another box, and mirror into themselves', () => {
    const back = fitted(fitted(POINTS, [0.2, 0.2, 0.8, 0.6], [0, 0, 1, 1]), [0, 0, 1, 1], [0.2, 0.2, 0.8, 0.6]);
    for (const [name, [x, y]] of Object.entries(POINTS)) {
      expect(back[name]![0]).toBeCloseTo(x, 3);
      expect(back[name]![1]).toBeCloseTo(y, 3);
    }
    expect(mirrored(mirrored(POINTS))).toEqual(POINTS);
    expect(mirrored(POINTS)['right_wrist']).toEqual([0.2, 0.5]);
  });
  it('have limbs between joints that there are', () => {
    for (const limb of LIMBS) for (const joint of limb) expect(JOINTS).toContain(joint);
  });
});

const step = (index: number, phase: string, loss?: number): Step => ({
  index, count: 4, phase, left: null, spent: null, loss: loss ?? null, losses: loss === undefined ? {} : { f: { cat: loss } },
  gradients: null, slope: null, moves: null, acting: [], weights: {}, preview: false,
});

describe('a run in words', () => {
  const steps = [step(0, 'spatial alone'), step(1, 'fidelity guided', 0.6), step(2, 'fidelity guided', 0.3), step(3, 'fidelity alone')];
  it('knows its phases and the loss that was known last', () => {
    expect(stretches(steps)).toEqual([{ phase: 'spatial alone', from: 0, to: 0 }, { phase: 'fidelity guided', from: 1, to: 2 }, { phase: 'fidelity alone', from: 3, to: 3 }]);
    expect(regionLoss(steps, 1, 'cat')).toBe(0.6);
    expect(regionLoss(steps, 3, 'cat')).toBe(0.3);
    expect(regionLoss(steps, 0, 'cat')).toBeNull();
  });
  it('says why things stand where they do', () => {
    expect(story(steps, ['mini/fidelity', 'mini/boxes'])).toBe(
      'mini/boxes planted each thing where you put it (step 1); then mini/fidelity drew, and was nudged back to your layout before each step (steps 2 to 3); then mini/fidelity finished freely (step 4).',
    );
    expect(story([step(0, 'balanced')], ['f', 's'])).toMatch(/^All models drew together/u);
    expect(story([], ['f'])).toBe('');
  });
  it('says whether a thing stayed', () => {
    expect(stayed(steps, 'cat')).toEqual({ verdict: 'held', text: 'stayed: 70 % of the attention to it lay in its place.' });
    expect(stayed([step(0, 'fidelity guided', 0.9)], 'cat').verdict).toBe('strayed');
    expect(stayed(steps, 'dog').verdict).toBe('unknown');
  });
  it('has a sentence for every phase', () => {
    for (const phase of ['loading', 'planning', 'spatial alone', 'balanced', 'fidelity guided', 'fidelity alone', 'decoding']) expect(explained(phase, ['f', 's'])).toMatch(/\.$/u);
  });
});
