import { describe, expect, it } from 'vitest';
import { begun, changed, MOST_STEPS, redone, settled, undone } from '../src/model/history';

describe('undo', () => {
  it('goes back and forth, and a new change ends what was undone', () => {
    let h = changed(changed(begun(1), 2), 3);
    h = undone(h);
    expect(h.present).toBe(2);
    expect(redone(h).present).toBe(3);
    h = changed(h, 9);
    expect(redone(h).present).toBe(9);
    expect(undone(h).present).toBe(2);
  });
  it('takes a drag as one step', () => {
    let h = begun(0);
    for (let k = 1; k < 50; k++) h = changed(h, k, 'drag');
    expect(undone(h).present).toBe(0);
  });
  it('takes two drags as two, where the first was let go', () => {
    let h = changed(begun(0), 1, 'drag a');
    h = changed(settled(h), 2, 'drag a');
    expect(undone(h).present).toBe(1);
  });
  it('never undoes past the beginning, forgets the oldest, and knows that nothing changed', () => {
    let h = begun(-1);
    expect(undone(h)).toBe(h);
    expect(changed(h, -1)).toBe(h);
    for (let k = 0; k < MOST_STEPS + 30; k++) h = changed(h, k);
    expect(h.past).toHaveLength(MOST_STEPS);
  });
});
