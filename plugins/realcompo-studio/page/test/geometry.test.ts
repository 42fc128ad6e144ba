import { describe, expect, it } from 'vitest';
import { area, beside, between, moved, resized, snapMove, snapPoint, LEAST, type Box } from '../src/model/geometry';

const BOX: Box = [0.2, 0.3, 0.5, 0.7];

describe('boxes', () => {
  it('are drawn from any corner to any other and cut at the edge', () => {
    expect(between([0.5, 0.7], [0.2, 0.3])).toEqual(BOX);
    expect(between([0.5, 0.7], [-1, 2])).toEqual([0, 0.7, 0.5, 1]);
  });
  it('keep their size when they are moved against the edge', () => {
    const at = moved(BOX, 9, -9);
    expect(at).toEqual([0.7, 0, 1, 0.4]);
    expect(area(at)).toBeCloseTo(area(BOX), 6);
  });
  it('never turn inside out when they are resized', () => {
    for (const handle of ['n', 's', 'e', 'w', 'ne', 'nw', 'se', 'sw'] as const)
      for (const to of [[-1, -1], [2, 2], [0.35, 0.5]] as const) {
        const [x0, y0, x1, y1] = resized(BOX, handle, to);
        expect(x1 - x0).toBeGreaterThanOrEqual(LEAST - 1e-9);
        expect(y1 - y0).toBeGreaterThanOrEqual(LEAST - 1e-9);
        expect(Math.min(x0, y0)).toBeGreaterThanOrEqual(0);
        expect(Math.max(x1, y1)).toBeLessThanOrEqual(1);
      }
  });
  it('move only the side that is held', () => {
    expect(resized(BOX, 'e', [0.9, 0.1])).toEqual([0.2, 0.3, 0.9, 0.7]);
    expect(resized(BOX, 'nw', [0.1, 0.1])).toEqual([0.1, 0.1, 0.5, 0.7]);
  });
  it('have room for their copy', () => {
    expect(beside(BOX)).toEqual([0.24, 0.34, 0.54, 0.74]);
    expect(beside([0.7, 0.7, 1, 1])).toEqual([0.66, 0.66, 0.96, 0.96]);
  });
});

describe('snapping', () => {
  it('goes to the nearest edge or middle within reach, each axis by itself', () => {
    const snap = snapMove([0.21, 0.1, 0.41, 0.2], [[0.2, 0.6, 0.4, 0.8]], 0.02);
    expect(snap.dx).toBeCloseTo(-0.01, 9);
    expect(snap.dy).toBe(0);
    expect(snap.lines).toHaveLength(1);
  });
  it('leaves alone what is out of reach, and all with a reach of nothing', () => {
    expect(snapMove([0.23, 0.1, 0.33, 0.2], [[0.6, 0.6, 0.8, 0.8]], 0.001)).toEqual({ dx: 0, dy: 0, lines: [] });
    expect(snapPoint([0.4999, 0.3], [], 0).point).toEqual([0.4999, 0.3]);
  });
});
