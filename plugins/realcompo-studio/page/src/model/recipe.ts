// The document as a recipe, and back. The recipe is the one format: the server, files and pictures speak it.
import type { Box, Point } from './geometry';
import {
  EMPTY,
  freshKey,
  type BoxThing,
  type BranchEntry,
  type Component,
  type ConditionKind,
  type Document,
  type Person,
  type Segment,
  type SegmentMap,
  type Thing,
} from './document';
import type { Json } from './schema';

type Table = Readonly<Record<string, Json>>;
const table = (value: Json | undefined): Table => (value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Table) : {});
const list = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? (value as readonly Json[]) : []);
const text = (value: Json | undefined): string => (typeof value === 'string' ? value : '');
const whole = (value: Json | undefined): number | null => (typeof value === 'number' ? value : null);

/** A table without its undefined and empty parts, so that a recipe says what was said. */
function said(data: Record<string, Json | undefined>): Record<string, Json> {
  const kept: Record<string, Json> = {};
  for (const [key, value] of Object.entries(data)) if (value !== undefined && value !== null) kept[key] = value;
  return kept;
}

const component = (one: Component): Table => {
  const { options, ...rest } = one;
  return Object.keys(options).length ? said({ ...rest, options }) : said({ ...rest });
};

/** Plain data that the server's Recipe reads. `kinds`: of condition that the chosen branches take. */
export function toRecipe(document: Document, kinds: readonly ConditionKind[]): Record<string, Json> {
  return said({
    ...document.rest,
    branches: [component(document.fidelity), ...document.spatial.map(component)],
    balancer: document.balancer ? component(document.balancer) : undefined,
    planner: document.planner ? component(document.planner) : undefined,
    num_inference_steps: document.steps ?? undefined,
    height: document.height ?? undefined,
    width: document.width ?? undefined,
    pictures: [
      said({
        ...document.pictureRest,
        prompt: document.prompt,
        negative_prompt: document.negative || undefined,
        seed: document.seed ?? undefined,
        conditions: { ...table(document.pictureRest['conditions']), ...conditions(document, kinds) },
      }),
    ],
  });
}

const common = (thing: Thing): Record<string, Json> => said({ phrase: thing.phrase.trim(), id: thing.id, span: thing.span });

/** What stands on the canvases of these kinds, as conditions. An empty canvas is left out: a planner may fill it. */
export function conditions(document: Document, kinds: readonly ConditionKind[]): Record<string, Json> {
  const made: Record<string, Json> = {};
  if (kinds.includes('boxes') && document.boxes.length)
    made['boxes'] = { kind: 'boxes', items: document.boxes.map((thing) => ({ ...common(thing), box: thing.box })) };
  if (kinds.includes('keypoints') && document.people.length)
    made['keypoints'] = { kind: 'keypoints', items: document.people.map((thing) => ({ ...common(thing), points: thing.points })) };
  if (kinds.includes('segmentation') && document.segments.items.length) made['segmentation'] = mapCondition(document.segments);
  return made;
}

function mapCondition(map: SegmentMap): Json {
  const shape = (one: Segment): Record<string, Json> => said({ label: one.label, rle: one.rle, polygons: one.polygons });
  return {
    kind: 'segmentation',
    size: [map.height, map.width],
    items: map.items.filter((one) => !one.backdrop).map((one) => ({ ...common(one), ...shape(one) })),
    backdrop: map.items.filter((one) => one.backdrop).map((one) => said({ ...shape(one), phrase: one.phrase || undefined })),
  };
}

const RECIPE_KEYS = ['version', 'branches', 'balancer', 'planner', 'num_inference_steps', 'height', 'width', 'pictures'];
const PICTURE_KEYS = ['prompt', 'negative_prompt', 'seed', 'conditions'];

/** The document of a recipe's first picture. What the page has no field for is kept. */
export function fromRecipe(recipe: Table): Document {
  const entries = list(recipe['branches']).map(entry);
  const [picture] = list(recipe['pictures']).map(table);
  const told = table(picture?.['conditions']);
  const { boxes, keypoints, segmentation, ...other } = told;
  const rest = Object.fromEntries(Object.entries(recipe).filter(([key]) => !RECIPE_KEYS.includes(key)));
  const more = Object.fromEntries(Object.entries(picture ?? {}).filter(([key]) => !PICTURE_KEYS.includes(key)));
  return {
    ...EMPTY,
    prompt: text(picture?.['prompt']),
    negative: text(picture?.['negative_prompt']),
    seed: whole(picture?.['seed']),
    steps: whole(recipe['num_inference_steps']),
    height: whole(recipe['height']),
    width: whole(recipe['width']),
    fidelity: entries.find((one) => one['role'] === 'fidelity') ?? entries[0] ?? EMPTY.fidelity,
    spatial: entries.filter((one, k) => (one['role'] ? one['role'] === 'spatial' : k > 0)),
    balancer: recipe['balancer'] === undefined ? null : part(recipe['balancer']),
    planner: recipe['planner'] === undefined || recipe['planner'] === null ? null : part(recipe['planner']),
    ...canvases({ boxes: boxes ?? null, keypoints: keypoints ?? null, segmentation: segmentation ?? null }),
    rest,
    pictureRest: Object.keys(other).length ? { ...more, conditions: other } : more,
  };
}

function part(value: Json): Component {
  if (typeof value === 'string') return { name: value, options: {} };
  const found = table(value);
  return { ...found, name: text(found['name']), options: table(found['options']) };
}

const entry = (value: Json): BranchEntry => part(value) as BranchEntry;

/** Conditions as they are told, onto their canvases; those that are none leave theirs as EMPTY has it. */
export function canvases(told: Readonly<Record<string, Json>>): Pick<Document, 'boxes' | 'people' | 'segments'> {
  return {
    boxes: told['boxes'] ? readBoxes(told['boxes']) : [],
    people: told['keypoints'] ? readPeople(told['keypoints']) : [],
    segments: told['segmentation'] ? readMap(told['segmentation']) : EMPTY.segments,
  };
}

/** Items of a condition: a list, {items: […]}, or phrase → value. */
function items(value: Json, name: string): Table[] {
  const inner = Array.isArray(value) ? (value as Json) : (table(value)['items'] ?? value);
  if (Array.isArray(inner))
    return inner.map((one: Json) => (Array.isArray(one) ? { phrase: (one as Json[])[0] ?? '', [name]: (one as Json[])[1] ?? null } : table(one)));
  return Object.entries(table(inner))
    .filter(([key]) => key !== 'kind' && key !== 'size')
    .map(([phrase, told]) => ({ phrase, [name]: told }));
}

/** Ids are kept where reading would not make the same of the phrases. */
function things<T extends Thing>(made: (T & { id?: string })[]): T[] {
  const numbers = new Map<string, number>();
  return made.map((thing) => {
    const count = (numbers.get(thing.phrase) ?? 0) + 1;
    numbers.set(thing.phrase, count);
    const usual = count === 1 ? thing.phrase : `${thing.phrase}#${count}`;
    const { id, ...rest } = thing;
    return (id && id !== usual ? { ...rest, id } : rest) as T;
  });
}

function basics(one: Table): Thing {
  const span = list(one['span']);
  return {
    key: freshKey(),
    phrase: text(one['phrase']),
    ...(text(one['id']) ? { id: text(one['id']) } : {}),
    ...(span.length === 2 ? { span: [Number(span[0]), Number(span[1])] as const } : {}),
  };
}

function readBoxes(value: Json): BoxThing[] {
  const numbers = (one: Table): Box => list(one['box']).map(Number) as unknown as Box;
  return things(items(value, 'box').map((one) => ({ ...basics(one), box: numbers(one) })));
}

function readPeople(value: Json): Person[] {
  const points = (one: Table): Record<string, Point> =>
    Object.fromEntries(Object.entries(table(one['points'])).map(([name, at]) => [name, list(at).map(Number) as unknown as Point]));
  return things(items(value, 'points').map((one) => ({ ...basics(one), points: points(one), hidden: {} })));
}

function readMap(value: Json): SegmentMap {
  const told = table(value);
  const [height, width] = list(told['size']).map(Number);
  const one = (backdrop: boolean) => (data: Json): Segment => ({
    ...basics(table(data)),
    label: text(table(data)['label']),
    ...(text(table(data)['rle']) ? { rle: text(table(data)['rle']) } : {}),
    ...(table(data)['polygons'] ? { polygons: list(table(data)['polygons']).map((p) => list(p).map(Number)) } : {}),
    backdrop,
  });
  return {
    height: height ?? EMPTY.segments.height,
    width: width ?? EMPTY.segments.width,
    items: things([...list(told['backdrop']).map(one(true)), ...list(told['items']).map(one(false))]),
  };
}
