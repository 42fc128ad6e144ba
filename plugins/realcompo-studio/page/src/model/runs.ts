// Masks as COCO's compressed run lengths, column by column: the form that recipes hold (realcompo/conditions/runs.py).

const BASE = 48;

export interface Mask {
  readonly height: number;
  readonly width: number;
  /** Row by row: 1 inside. */
  readonly data: Uint8Array;
}

export const emptyMask = (height: number, width: number): Mask => ({ height, width, data: new Uint8Array(height * width) });

export function fold(mask: Mask): number[] {
  const counts: number[] = [];
  let value = 0;
  let run = 0;
  for (let x = 0; x < mask.width; x++)
    for (let y = 0; y < mask.height; y++) {
      const here = mask.data[y * mask.width + x] ? 1 : 0;
      if (here === value) run++;
      else {
        counts.push(run);
        value = here;
        run = 1;
      }
    }
  counts.push(run);
  return counts;
}

export function encode(mask: Mask): string {
  return write(fold(mask));
}

export function write(counts: readonly number[]): string {
  let text = '';
  counts.forEach((run, index) => {
    let value = index > 2 ? run - counts[index - 2]! : run;
    for (;;) {
      const bits = value & 31;
      value >>= 5;
      const more = value !== (bits & 16 ? -1 : 0);
      text += String.fromCharCode(bits + (more ? 32 : 0) + BASE);
      if (!more) break;
    }
  });
  return text;
}

/** Counts of a compressed code. Throws where it is none: recipes come from strangers. */
export function read(text: string, total: number): number[] {
  const counts: number[] = [];
  let value = 0;
  let shift = 0;
  for (const letter of text) {
    const bits = letter.charCodeAt(0) - BASE;
    if (bits < 0 || bits > 63 || shift > 25) throw new RangeError('no run-length code');
    value |= (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    if (bits & 16) value -= 1 << shift;
    const run = value + (counts.length > 2 ? counts[counts.length - 2]! : 0);
    if (run < 0 || run > total) throw new RangeError('a run longer than the map');
    counts.push(run);
    value = shift = 0;
  }
  return counts;
}

export function decode(text: string, height: number, width: number): Mask {
  const counts = read(text, height * width);
  if (counts.reduce((sum, run) => sum + run, 0) !== height * width) throw new RangeError('the runs do not fill the map');
  const mask = emptyMask(height, width);
  let at = 0;
  counts.forEach((run, index) => {
    if (index % 2) for (let k = at; k < at + run; k++) mask.data[(k % height) * width + Math.floor(k / height)] = 1;
    at += run;
  });
  return mask;
}
