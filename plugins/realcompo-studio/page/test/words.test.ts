import { describe, expect, it } from 'vitest';
import { contrast, TONES } from '../src/model/colours';
import { isSaid, pieces, suggestions, withPhrase, withRenamed } from '../src/model/words';

describe('phrases in the prompt', () => {
  it('are whole words, whatever their case', () => {
    expect(isSaid('A Cat sits', 'a cat')).toBe(true);
    expect(isSaid('a caterpillar', 'a cat')).toBe(false);
  });
  it('come as pieces that make up the prompt again', () => {
    const prompt = 'a red cat, a cat and two dogs';
    const found = pieces(prompt, [{ id: '1', phrase: 'a cat' }, { id: '2', phrase: 'a red cat' }, { id: '3', phrase: 'two dogs' }, { id: '4', phrase: 'two dogs' }, { id: '5', phrase: 'a fish' }]);
    expect(found.map((piece) => piece.text).join('')).toBe(prompt);
    expect(found.filter((piece) => piece.ids.length)).toEqual([
      { text: 'a red cat', ids: ['2'] },
      { text: 'a cat', ids: ['1'] },
      { text: 'two dogs', ids: ['3', '4'] },
    ]);
  });
});

describe('a prompt that grows', () => {
  it('begins with the first thing and lists the others', () => {
    expect(withPhrase('', 'a cat')).toBe('a cat');
    expect(withPhrase('a cat', 'a dog')).toBe('a cat and a dog');
    expect(withPhrase('a cat and a dog', 'a car')).toBe('a cat, a dog and a car');
  });
  it('puts things before the backdrop', () => {
    expect(withPhrase('a cat on grass', 'a dog')).toBe('a cat and a dog on grass');
  });
  it('says nothing twice', () => {
    expect(withPhrase('a cat and a dog', 'a dog')).toBe('a cat and a dog');
  });
  it('follows a new name', () => {
    expect(withRenamed('a cat on grass', 'a cat', 'a red cat')).toBe('a red cat on grass');
    expect(withRenamed('a cat', '', 'a dog')).toBe('a cat and a dog');
  });
});

describe('what may be placed next', () => {
  it('is what the prompt names and no region holds', () => {
    expect(suggestions('a cat, a red balloon and a blue car on grass', [{ id: '1', phrase: 'a cat' }])).toEqual(['a red balloon', 'a blue car']);
  });
});

describe('colours', () => {
  it('carry white text, or stand on dark paper, with the contrast that WCAG AA asks for', () => {
    for (const { strong, bright } of TONES) {
      expect(contrast(strong, '#ffffff')).toBeGreaterThanOrEqual(4.5);
      expect(contrast(bright, '#1a1d23')).toBeGreaterThanOrEqual(4.5);
    }
  });
});
