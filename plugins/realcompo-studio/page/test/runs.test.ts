import { describe, expect, it } from 'vitest';
import { brushed, filledPolygon, flooded, isEmpty, united, without } from '../src/model/painting';
import { decode, emptyMask, encode, fold, read, write, type Mask } from '../src/model/runs';

const mask = (rows: string[]): Mask => ({
  height: rows.length,
  width: rows[0]!.length,
  data: Uint8Array.from(rows.join('').split('').map(Number)),
});

describe('run lengths', () => {
  it('are counted column by column, as COCO does', () => {
    expect(fold(mask(['01', '01']))).toEqual([2, 2]);
    expect(fold(mask(['10', '00']))).toEqual([0, 1, 3]);
  });
  it('are written as the core writes them', () => {
    // realcompo.conditions.runs.compress of the same counts; the browser's tests hold one against the other.
    expect(write([6, 1, 40, 4, 5, 4, 5, 4, 21])).toBe('61X13mN000`0');
  });
  it('come back from their code, whatever the mask', () => {
    let seed = 1;
    const random = (): number => (seed = (seed * 16807) % 2147483647) / 2147483647;
    for (let k = 0; k < 60; k++) {
      const [height, width] = [1 + Math.floor(random() * 40), 1 + Math.floor(random() * 40)];
      const share = random();
      const made = emptyMask(height, width);
      for (let at = 0; at < made.data.length; at++) made.data[at] = random() < share ? 1 : 0;
      expect(decode(encode(made), height, width).data).toEqual(made.data);
    }
  });
  it('of a stranger are refused, not followed', () => {
    expect(() => read('\u0000', 10)).toThrow();
    expect(() => decode('99', 2, 2)).toThrow();
    expect(() => read('o'.repeat(80), 4)).toThrow();
  });
});

describe('painting', () => {
  it('fills a polygon at pixels whose middle it holds', () => {
    expect(filledPolygon(emptyMask(4, 4), [[1, 1], [3, 1], [3, 3], [1, 3]]).data).toEqual(mask(['0000', '0110', '0110', '0000']).data);
  });
  it('paints along a line, not only at its ends', () => {
    const line = brushed(emptyMask(5, 9), [[1, 2.5], [8, 2.5]], 0.6);
    expect([...line.data.slice(18, 27)]).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1]);
    expect(isEmpty(brushed(emptyMask(5, 9), [[-20, -20]], 2))).toBe(true);
  });
  it('floods what is connected, and does not leak over the edge of a row', () => {
    const owners = Int16Array.from([0, 1, 0, 0, 1, 0]);
    expect([...flooded(owners, 2, 3, [2.5, 0.5]).data]).toEqual([0, 0, 1, 0, 0, 1]);
    expect(isEmpty(flooded(owners, 2, 3, [9, 9]))).toBe(true);
  });
  it('joins and takes away', () => {
    const [a, b] = [mask(['110']), mask(['011'])];
    expect([...united(a, b).data]).toEqual([1, 1, 1]);
    expect([...without(a, b).data]).toEqual([1, 0, 0]);
  });
});
