// Brush, polygon and fill on masks. Coordinates are pixels of the map; a pixel belongs to a shape that holds its middle.
import { emptyMask, type Mask } from './runs';

export type At = readonly [number, number];

/** A stroke of a round brush along a line of points. */
export function brushed(mask: Mask, along: readonly At[], radius: number): Mask {
  const data = mask.data.slice();
  const one = (a: At, b: At): void => {
    const [low, high] = [Math.floor(Math.min(a[1], b[1]) - radius), Math.ceil(Math.max(a[1], b[1]) + radius)];
    const [left, right] = [Math.floor(Math.min(a[0], b[0]) - radius), Math.ceil(Math.max(a[0], b[0]) + radius)];
    for (let y = Math.max(0, low); y < Math.min(mask.height, high); y++)
      for (let x = Math.max(0, left); x < Math.min(mask.width, right); x++)
        if (toLine(x + 0.5, y + 0.5, a, b) <= radius) data[y * mask.width + x] = 1;
  };
  if (along.length === 1) one(along[0]!, along[0]!);
  for (let k = 1; k < along.length; k++) one(along[k - 1]!, along[k]!);
  return { ...mask, data };
}

function toLine(x: number, y: number, a: At, b: At): number {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  const t = length ? Math.min(1, Math.max(0, ((x - a[0]) * dx + (y - a[1]) * dy) / length)) : 0;
  return Math.hypot(x - a[0] - t * dx, y - a[1] - t * dy);
}

/** Everything inside a polygon (even-odd), added to the mask. */
export function filledPolygon(mask: Mask, corners: readonly At[]): Mask {
  const data = mask.data.slice();
  for (let y = 0; y < mask.height; y++) {
    const crossings: number[] = [];
    const middle = y + 0.5;
    corners.forEach((a, k) => {
      const b = corners[(k + 1) % corners.length]!;
      if (a[1] <= middle !== b[1] <= middle) crossings.push(a[0] + ((middle - a[1]) / (b[1] - a[1])) * (b[0] - a[0]));
    });
    crossings.sort((p, q) => p - q);
    for (let k = 0; k + 1 < crossings.length; k += 2) {
      const from = Math.max(0, Math.ceil(crossings[k]! - 0.5));
      const to = Math.min(mask.width - 1, Math.ceil(crossings[k + 1]! - 0.5) - 1);
      for (let x = from; x <= to; x++) data[y * mask.width + x] = 1;
    }
  }
  return { ...mask, data };
}

/** The connected pixels of one owner around a start, as a mask. `owners` holds a number a pixel, row by row. */
export function flooded(owners: Int16Array, height: number, width: number, start: At): Mask {
  const found = emptyMask(height, width);
  const [x, y] = [Math.floor(start[0]), Math.floor(start[1])];
  if (x < 0 || y < 0 || x >= width || y >= height) return found;
  const wanted = owners[y * width + x];
  const open = [y * width + x];
  found.data[open[0]!] = 1;
  while (open.length) {
    const at = open.pop()!;
    const column = at % width;
    for (const next of [at - width, at + width, column ? at - 1 : -1, column < width - 1 ? at + 1 : -1])
      if (next >= 0 && next < owners.length && !found.data[next] && owners[next] === wanted) {
        found.data[next] = 1;
        open.push(next);
      }
  }
  return found;
}

export function united(a: Mask, b: Mask): Mask {
  return { ...a, data: a.data.map((value, k) => (value || b.data[k] ? 1 : 0)) };
}

export function without(a: Mask, b: Mask): Mask {
  return { ...a, data: a.data.map((value, k) => (value && !b.data[k] ? 1 : 0)) };
}

export const isEmpty = (mask: Mask): boolean => !mask.data.some((value) => value > 0);
