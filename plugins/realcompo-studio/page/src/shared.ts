// What planning, drawing and the gallery share: the recipe of the page, conditions put onto it, and what went wrong.
import { Refused, type Problem } from './api';
import { allRegionIds, EMPTY, freshKey, KINDS, thingsOf, type BoxThing, type Document, type Person, type Segment } from './model/document';
import { canvases, conditions, fromRecipe, toRecipe } from './model/recipe';
import type { Json } from './model/schema';
import * as store from './store';

export type Table = Readonly<Record<string, Json>>;

export function fail(error: unknown): void {
  if (error instanceof DOMException && error.name === 'AbortError') return;
  if (error instanceof Refused) store.mishaps.value = error.problems;
  else store.mishaps.value = [problem('The page stumbled', error instanceof Error ? error.message : String(error))];
}

export const problem = (what: string, mend: string | null): Problem => ({ kind: 'Page', what, where: null, mend, at: null, text: what });

/** The recipe of what is on the page. A spatial branch whose canvas is empty sits out where another's is not. */
export function recipe(document: Document = store.doc.value): Table {
  return toRecipe({ ...document, spatial: taking(document) }, store.kinds.value);
}

export function taking(document: Document): Document['spatial'] {
  const filled = Object.keys(conditions(document, store.kinds.value));
  if (!filled.length) return document.spatial;
  const acting = document.spatial.filter((one) => {
    const condition = store.branchPart(one.name)?.condition;
    return !condition || filled.includes(condition);
  });
  return acting.length ? acting : document.spatial;
}

/** The document with conditions that were planned; what keeps its region keeps its colour and its lock. */
export function placed(before: Document, told: Table): Document {
  const found = canvases(told);
  const ids = allRegionIds(before);
  const keys = new Map([...ids].map(([key, id]) => [id, key]));
  const locks = new Map(everything(before).map((thing) => [thing.key, thing.locked ?? false]));
  const same = <T extends BoxThing | Person | Segment>(list: readonly T[]): T[] => {
    const made = allRegionIds({ ...EMPTY, boxes: list as never });
    return list.map((thing) => {
      const key = keys.get(made.get(thing.key) ?? '') ?? freshKey();
      return { ...thing, key, ...(locks.get(key) ? { locked: true } : {}) };
    });
  };
  return {
    ...before,
    boxes: told['boxes'] ? same(found.boxes) : before.boxes,
    people: told['keypoints'] ? same(found.people) : before.people,
    segments: told['segmentation'] ? { ...found.segments, items: same(found.segments.items) } : before.segments,
  };
}

const everything = (document: Document): readonly (BoxThing | Person | Segment)[] => [...document.boxes, ...document.people, ...document.segments.items];

export function restore(recipe: Table): void {
  const told = fromRecipe(recipe);
  store.edit((before) => ({ ...told, planner: told.planner ?? before.planner }));
  store.selected.value = null;
  const kind = KINDS.find((one) => thingsOf(told, one).length > 0);
  if (kind) store.canvas.value = kind;
}
