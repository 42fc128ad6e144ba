// What is being made: everything that decides the picture, as one plain, immutable value.
import type { Box, Point } from './geometry';
import type { Json } from './schema';

export type ConditionKind = 'boxes' | 'keypoints' | 'segmentation';
export const KINDS: readonly ConditionKind[] = ['boxes', 'keypoints', 'segmentation'];

export interface Thing {
  /** The page's own name for it: colours, selection and undo go by it. */
  readonly key: string;
  readonly phrase: string;
  /** Of the region, where a recipe gave one that is not made of the phrase. */
  readonly id?: string;
  readonly span?: readonly [number, number];
  /** Stays where it is when the rest is planned. */
  readonly locked?: boolean;
}
export interface BoxThing extends Thing {
  readonly box: Box;
}
export interface Person extends Thing {
  readonly points: Readonly<Record<string, Point>>;
  /** Where hidden joints were, so that they can be shown again. */
  readonly hidden: Readonly<Record<string, Point>>;
}
export interface Segment extends Thing {
  readonly label: string;
  /** Of the map's size; one of the two. */
  readonly rle?: string;
  readonly polygons?: readonly (readonly number[])[];
  /** Drawn in the hint, but belongs to no words. */
  readonly backdrop: boolean;
}
export interface SegmentMap {
  readonly height: number;
  readonly width: number;
  readonly items: readonly Segment[];
}

export interface Component {
  readonly name: string;
  readonly options: Readonly<Record<string, Json>>;
  readonly [more: string]: Json | undefined;
}
export interface BranchEntry extends Component {
  readonly guidance_scale?: number;
  readonly prompt?: string;
  readonly negative_prompt?: string;
  readonly source?: string;
}

export interface Document {
  readonly prompt: string;
  readonly negative: string;
  readonly seed: number | null;
  readonly steps: number | null;
  readonly height: number | null;
  readonly width: number | null;
  readonly fidelity: BranchEntry;
  readonly spatial: readonly BranchEntry[];
  readonly balancer: Component | null;
  readonly planner: Component | null;
  readonly boxes: readonly BoxThing[];
  readonly people: readonly Person[];
  readonly segments: SegmentMap;
  /** Of a recipe that was opened: what the page has no field for, kept as it is. */
  readonly rest: Readonly<Record<string, Json>>;
  readonly pictureRest: Readonly<Record<string, Json>>;
}

export const branch = (name: string): BranchEntry => ({ name, options: {} });

export const EMPTY: Document = {
  prompt: '',
  negative: '',
  seed: 7,
  steps: null,
  height: null,
  width: null,
  fidelity: branch('mini/fidelity'),
  spatial: [branch('mini/boxes')],
  balancer: null,
  planner: { name: 'mini/planner', options: {} },
  boxes: [],
  people: [],
  segments: { height: 64, width: 64, items: [] },
  rest: {},
  pictureRest: {},
};

let made = 0;
/** A key that no thing of this page has. */
export const freshKey = (): string => `t${Date.now().toString(36)}${(made++).toString(36)}`;

export const thingsOf = (document: Document, kind: ConditionKind): readonly Thing[] =>
  kind === 'boxes' ? document.boxes : kind === 'keypoints' ? document.people : document.segments.items;

/** Ids that reading a condition gives its items (realcompo/conditions/base.py, with_ids), by key. */
export function regionIds(things: readonly Thing[]): Map<string, string> {
  const taken = new Set(things.flatMap((thing) => (thing.id ? [thing.id] : [])));
  const ids = new Map<string, string>();
  for (const thing of things) {
    let id = thing.id ?? '';
    if (!id) {
      id = thing.phrase;
      for (let k = 2; taken.has(id); k++) id = `${thing.phrase}#${k}`;
      taken.add(id);
    }
    ids.set(thing.key, id);
  }
  return ids;
}

/** The region's id of everything that has one. */
export function allRegionIds(document: Document): Map<string, string> {
  const segments = document.segments.items.filter((segment) => !segment.backdrop);
  return new Map([...regionIds(document.boxes), ...regionIds(document.people), ...regionIds(segments)]);
}
