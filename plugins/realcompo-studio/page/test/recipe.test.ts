import { describe, expect, it } from 'vitest';
import { allRegionIds, EMPTY, regionIds, type Document } from '../src/model/document';
import { fromRecipe, toRecipe } from '../src/model/recipe';
import { fields, readField, type Schema } from '../src/model/schema';
import type { Json } from '../src/model/schema';

const RECIPE: Record<string, Json> = {
  branches: [
    { name: 'mini/fidelity', options: { places: ['up'] }, guidance_scale: 3.5 },
    { name: 'mini/boxes', role: 'spatial' },
    { name: 'mini/segmentation', role: 'spatial' },
    { name: 'mini/pose', role: 'spatial' },
  ],
  balancer: { name: 'core/guided', options: { plant: 0.4 } },
  planner: { name: 'mini/planner', use: ['background'] },
  scheduler: 'euler',
  num_inference_steps: 12,
  height: 96,
  width: 128,
  pictures: [
    {
      prompt: 'two cats and a dancer on grass',
      negative_prompt: 'rain',
      seed: 3,
      name: 'mine',
      conditions: {
        boxes: { kind: 'boxes', items: [{ phrase: 'two cats', box: [0, 0, 0.5, 0.5] }, { phrase: 'two cats', box: [0.5, 0, 1, 0.5], id: 'the other', span: [0, 8] }] },
        keypoints: { kind: 'keypoints', items: [{ phrase: 'a dancer', points: { nose: [0.5, 0.2], neck: [0.5, 0.3] } }] },
        segmentation: { kind: 'segmentation', size: [8, 8], items: [{ phrase: 'grass', label: 'grass', rle: '0P1' }], backdrop: [{ label: 'sky', polygons: [[0, 0, 8, 0, 8, 2, 0, 2]] }] },
      },
    },
  ],
};

describe('a recipe', () => {
  it('comes back as it was, with what the page has no field for', () => {
    const document = fromRecipe(RECIPE);
    expect(toRecipe(document, ['boxes', 'keypoints', 'segmentation'])).toEqual({
      ...RECIPE,
      branches: (RECIPE['branches'] as Json[]).map((one) => one),
      pictures: RECIPE['pictures'],
    });
  });
  it('says only what was said', () => {
    const document: Document = { ...EMPTY, prompt: 'a cat', seed: null };
    expect(toRecipe(document, ['boxes'])).toEqual({
      branches: [{ name: 'mini/fidelity' }, { name: 'mini/boxes' }],
      planner: { name: 'mini/planner' },
      pictures: [{ prompt: 'a cat', conditions: {} }],
    });
  });
  it('leaves out canvases that no branch takes', () => {
    const document = fromRecipe(RECIPE);
    const [picture] = toRecipe(document, ['keypoints'])['pictures'] as { conditions: object }[];
    expect(Object.keys(picture!.conditions)).toEqual(['keypoints']);
  });
  it('reads boxes as people write them, too', () => {
    const short = fromRecipe({ branches: ['mini/fidelity', 'mini/boxes'], pictures: [{ prompt: 'a cat', conditions: { boxes: { 'a cat': [0, 0, 1, 1] } } }] });
    expect(short.boxes.map((one) => [one.phrase, one.box])).toEqual([['a cat', [0, 0, 1, 1]]]);
    expect(short.spatial.map((one) => one.name)).toEqual(['mini/boxes']);
  });
});

describe('regions', () => {
  it('are called as the core calls them', () => {
    const thing = (key: string, phrase: string, id?: string) => ({ key, phrase, ...(id ? { id } : {}) });
    expect([...regionIds([thing('1', 'a cat'), thing('2', 'a cat'), thing('3', 'a cat', 'a cat#3'), thing('4', 'a cat')]).values()]).toEqual(['a cat', 'a cat#2', 'a cat#3', 'a cat#4']);
  });
  it('of two kinds with one name are one', () => {
    const document = fromRecipe(RECIPE);
    expect(new Set(allRegionIds(document).values())).toEqual(new Set(['two cats', 'the other', 'a dancer', 'grass']));
  });
});

describe('a form', () => {
  const schema: Schema = {
    properties: {
      places: { type: 'array', items: { enum: ['up', 'down'], type: 'string' }, default: ['up'], description: 'Where.' },
      share: { type: 'number', minimum: 0, maximum: 1, default: 0.3 },
      file: { anyOf: [{ type: 'string' }, { type: 'null' }], default: null },
      kind: { $ref: '#/$defs/Kind', default: 'a' },
      on: { type: 'boolean', default: false },
      run: { anyOf: [{ type: 'array', prefixItems: [{ type: 'number' }, { type: 'number' }] }, { type: 'null' }], default: null },
    },
    $defs: { Kind: { enum: ['a', 'b'], type: 'string' } },
  };
  it('has a field for each option, whatever the plugin', () => {
    expect(fields(schema, { share: 0.5 }).map((one) => [one.name, one.kind, one.initial, one.optional])).toEqual([
      ['places', 'choices', ['up'], false],
      ['share', 'real', 0.5, false],
      ['file', 'text', null, true],
      ['kind', 'choice', 'a', false],
      ['on', 'flag', false, false],
      ['run', 'json', null, true],
    ]);
  });
  it('says beside the field what cannot be read', () => {
    const [, share, , , , run] = fields(schema);
    expect(readField(share!, 'much')).toHaveProperty('wrong');
    expect(readField(share!, '1.5')).toHaveProperty('wrong');
    expect(readField(share!, '0.25')).toEqual({ value: 0.25 });
    expect(readField(share!, '')).toEqual({ value: undefined });
    expect(readField(run!, '[0.9, ')).toHaveProperty('wrong');
    expect(readField(run!, '[0.9, 0.2]')).toEqual({ value: [0.9, 0.2] });
  });
});
