// Boxes in shares of the picture: (x0, y0, x1, y1), origin at the top left. Pure functions: no DOM.

export type Box = readonly [number, number, number, number];
export type Point = readonly [number, number];
export type Handle = 'n' | 's' | 'e' | 'w' | 'ne' | 'nw' | 'se' | 'sw';

export const HANDLES: readonly Handle[] = ['nw', 'n', 'ne', 'e', 'se', 's', 'sw', 'w'];

/** The least side of a box that a hand can still take hold of. */
export const LEAST = 0.03;

/** A recipe that people read: four decimals are a twentieth of a pixel at 512. */
export const round4 = (value: number): number => Math.round(value * 1e4) / 1e4;

export const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);

export const rounded = (box: Box): Box => [round4(box[0]), round4(box[1]), round4(box[2]), round4(box[3])];

export const area = (box: Box): number => Math.max(0, box[2] - box[0]) * Math.max(0, box[3] - box[1]);

/** The box between two corners, in whichever order, cut at the picture's edge. */
export function between(a: Point, b: Point): Box {
  const at = (value: number): number => clamp(value, 0, 1);
  return rounded([at(Math.min(a[0], b[0])), at(Math.min(a[1], b[1])), at(Math.max(a[0], b[0])), at(Math.max(a[1], b[1]))]);
}

/** Moved as a whole; it stops at the picture's edge and keeps its size. */
export function moved(box: Box, dx: number, dy: number): Box {
  const x = clamp(dx, -box[0], 1 - box[2]);
  const y = clamp(dy, -box[1], 1 - box[3]);
  return rounded([box[0] + x, box[1] + y, box[2] + x, box[3] + y]);
}

/** One edge or corner drawn to a point; the opposite side stays, and the box keeps a least size. */
export function resized(box: Box, handle: Handle, to: Point): Box {
  let [x0, y0, x1, y1] = box;
  if (handle.includes('w')) x0 = clamp(to[0], 0, x1 - LEAST);
  if (handle.includes('e')) x1 = clamp(to[0], x0 + LEAST, 1);
  if (handle.includes('n')) y0 = clamp(to[1], 0, y1 - LEAST);
  if (handle.includes('s')) y1 = clamp(to[1], y0 + LEAST, 1);
  return rounded([x0, y0, x1, y1]);
}

/** Room for a copy beside the original: a little to the right and down, or to the left and up where there is none. */
export function beside(box: Box, by = 0.04): Box {
  const dx = box[2] + by <= 1 ? by : -by;
  const dy = box[3] + by <= 1 ? by : -by;
  return moved(box, dx, dy);
}

export interface Snap {
  readonly dx: number;
  readonly dy: number;
  readonly lines: readonly Guide[];
}
/** A line that something snapped to: across x or y, at a share of the picture. */
export interface Guide {
  readonly axis: 'x' | 'y';
  readonly at: number;
}

/** Lines worth snapping to: the picture's edges and middle, and the edges and middles of the other boxes. */
export function snapLines(others: readonly Box[]): { x: number[]; y: number[] } {
  const x = [0, 0.5, 1];
  const y = [0, 0.5, 1];
  for (const [x0, y0, x1, y1] of others) {
    x.push(x0, (x0 + x1) / 2, x1);
    y.push(y0, (y0 + y1) / 2, y1);
  }
  return { x, y };
}

/** The nearest pair of a value and a line within reach: how far to go, and to which line. */
export function nearest(values: readonly number[], lines: readonly number[], reach: number): { by: number; at: number } | null {
  let best: { by: number; at: number } | null = null;
  for (const value of values)
    for (const line of lines) {
      const by = line - value;
      if (Math.abs(by) <= reach && (best === null || Math.abs(by) < Math.abs(best.by))) best = { by, at: line };
    }
  return best;
}

/** How far a moved box still is from the lines that it should snap to. */
export function snapMove(box: Box, others: readonly Box[], reach: number): Snap {
  const lines = snapLines(others);
  const x = nearest([box[0], (box[0] + box[2]) / 2, box[2]], lines.x, reach);
  const y = nearest([box[1], (box[1] + box[3]) / 2, box[3]], lines.y, reach);
  return {
    dx: x?.by ?? 0,
    dy: y?.by ?? 0,
    lines: [...(x ? [{ axis: 'x' as const, at: x.at }] : []), ...(y ? [{ axis: 'y' as const, at: y.at }] : [])],
  };
}

/** The same for one point: a corner that is being drawn. */
export function snapPoint(point: Point, others: readonly Box[], reach: number): { point: Point; lines: Guide[] } {
  const found = snapMove([point[0], point[1], point[0], point[1]], others, reach);
  return { point: [point[0] + found.dx, point[1] + found.dy], lines: [...found.lines] };
}

/** In words, for those who do not see the canvas. */
export function spoken(box: Box): string {
  const percent = (value: number): string => `${Math.round(value * 100)} %`;
  return `from ${percent(box[0])} to ${percent(box[2])} across, ${percent(box[1])} to ${percent(box[3])} down`;
}

/** The least box around points. */
export function around(points: readonly Point[]): Box {
  const xs = points.map((p) => p[0]);
  const ys = points.map((p) => p[1]);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}
