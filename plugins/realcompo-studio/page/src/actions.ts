// What a user does to the document.
import { tone, type Tone } from './model/colours';
import { beside, clamp, moved, type Box } from './model/geometry';
import { branch, freshKey, type BoxThing, type ConditionKind, type Document, type Person, type Segment, type Thing } from './model/document';
import { movedPerson } from './model/poses';
import { placeOf, withPhrase, withRenamed } from './model/words';
import { decode, emptyMask, encode, type Mask } from './model/runs';
import { filledPolygon, isEmpty, united, without } from './model/painting';
import { branchPart, canvas, components, doc, edit, kinds, naming, notice, obstacle, poses, said, selected, size, tones, vocabulary } from './store';

// -- all kinds of things ---------------------------------------------------------------------------------------------------------

type Change = (thing: Thing) => Thing;

function mapThing(before: Document, key: string, change: Change): Document {
  const over = <T extends Thing>(list: readonly T[]): readonly T[] =>
    list.some((one) => one.key === key) ? list.map((one) => (one.key === key ? (change(one) as T) : one)) : list;
  return { ...before, boxes: over(before.boxes), people: over(before.people), segments: { ...before.segments, items: over(before.segments.items) } };
}

export function findThing(key: string | null): { kind: ConditionKind; thing: Thing } | null {
  const { boxes, people, segments } = doc.value;
  const lists: readonly (readonly [ConditionKind, readonly Thing[]])[] = [
    ['boxes', boxes],
    ['keypoints', people],
    ['segmentation', segments.items],
  ];
  for (const [kind, list] of lists) {
    const thing = list.find((one) => one.key === key);
    if (thing) return { kind, thing };
  }
  return null;
}

export function changeThing(key: string, part: Partial<BoxThing & Person & Segment>, tag: string | null = null): void {
  edit((before) => mapThing(before, key, (thing) => ({ ...thing, ...part })), tag);
}

/** New words for a thing. The prompt follows: it grows by words that it lacks, or has the old words written otherwise. */
export function rename(key: string, phrase: string, follow = true): void {
  const found = findThing(key);
  const words = phrase.trim();
  if (!found || (found.thing.phrase === words && placeOf(doc.value.prompt, words))) return;
  edit((before) => {
    const old = found.thing.phrase;
    const shared = [...before.boxes, ...before.people, ...before.segments.items].some((one) => one.key !== key && one.phrase === old);
    const prompt = !follow || !words ? before.prompt : old && !shared ? withRenamed(before.prompt, old, words) : withPhrase(before.prompt, words);
    const named = mapThing(before, key, (thing) => {
      const { id: _id, span: _span, ...rest } = thing;
      return { ...rest, phrase: words };
    });
    return { ...named, prompt };
  });
}

export function addToPrompt(phrase: string): void {
  edit((before) => ({ ...before, prompt: withPhrase(before.prompt, phrase) }));
}

export function remove(key: string): void {
  const found = findThing(key);
  const keep = <T extends Thing>(list: readonly T[]): T[] => list.filter((one) => one.key !== key);
  edit((before) => ({
    ...before,
    boxes: keep(before.boxes),
    people: keep(before.people),
    segments: { ...before.segments, items: keep(before.segments.items) },
  }));
  if (selected.value === key) selected.value = null;
  if (naming.value === key) naming.value = null;
  if (found) said.value = `${found.thing.phrase || 'The thing'} was taken away`;
}

export function duplicate(key: string): void {
  const found = findThing(key);
  if (!found) return;
  const { id: _id, span: _span, ...copied } = found.thing as BoxThing & Person & Segment;
  const copy = { ...copied, key: freshKey(), locked: false };
  edit((before) => {
    if (found.kind === 'boxes') return { ...before, boxes: [...before.boxes, { ...copy, box: beside(copy.box) }] };
    if (found.kind === 'keypoints') {
      const person = { ...copy, points: movedPerson(copy.points, 0.08, 0) };
      return { ...before, people: [...before.people, person] };
    }
    return before;
  });
  if (found.kind !== 'segmentation') selected.value = copy.key;
}

/** Moved by a share of the picture, from the keyboard. */
export function nudge(key: string, dx: number, dy: number): void {
  const found = findThing(key);
  if (found?.kind === 'boxes') changeThing(key, { box: moved((found.thing as BoxThing).box, dx, dy) }, `nudge ${key}`);
  if (found?.kind === 'keypoints') changeThing(key, { points: movedPerson((found.thing as Person).points, dx, dy) }, `nudge ${key}`);
}

// -- boxes and people -------------------------------------------------------------------------------------------------------------

export function addBox(box: Box, phrase = ''): string {
  const key = freshKey();
  edit((before) => ({ ...before, boxes: [...before.boxes, { key, phrase, box }], prompt: phrase ? withPhrase(before.prompt, phrase) : before.prompt }));
  selected.value = key;
  if (!phrase) naming.value = key;
  return key;
}

/** A box where there is room, for those who do not draw. */
export function addBoxSomewhere(phrase = ''): string {
  const taken = doc.value.boxes.map((one) => one.box);
  const side = 0.34;
  let best: Box = [0.33, 0.33, 0.67, 0.67];
  let least = Infinity;
  for (let y = 0.04; y <= 1 - side; y += 0.14)
    for (let x = 0.04; x <= 1 - side; x += 0.14) {
      const box: Box = [x, y, x + side, y + side];
      const overlap = taken.reduce((sum, one) => sum + Math.max(0, Math.min(box[2], one[2]) - Math.max(x, one[0])) * Math.max(0, Math.min(box[3], one[3]) - Math.max(y, one[1])), 0);
      if (overlap < least - 1e-9) [best, least] = [box, overlap];
    }
  return addBox(best.map((value) => Math.round(value * 100) / 100) as unknown as Box, phrase);
}

export function addPerson(pose: string): void {
  const points = poses.value?.poses[pose];
  if (!points) return;
  const key = freshKey();
  const at = doc.value.people.length;
  edit((before) => ({ ...before, people: [...before.people, { key, phrase: '', points: movedPerson(points, [0, -0.25, 0.25, -0.12, 0.12][at % 5]!, 0), hidden: {} }] }));
  selected.value = key;
  naming.value = key;
}

export function hideJoint(key: string, name: string): void {
  const found = findThing(key);
  if (found?.kind !== 'keypoints') return;
  const person = found.thing as Person;
  const { [name]: point, ...points } = person.points;
  if (!point || !Object.keys(points).length) return;
  changeThing(key, { points, hidden: { ...person.hidden, [name]: point } });
}

export function showJoints(key: string): void {
  const found = findThing(key);
  if (found?.kind !== 'keypoints') return;
  const person = found.thing as Person;
  changeThing(key, { points: { ...person.hidden, ...person.points }, hidden: {} });
}

// -- segments --------------------------------------------------------------------------------------------------------------------

export function maskOf(segment: Segment, height: number, width: number): Mask {
  try {
    if (segment.rle !== undefined) return decode(segment.rle, height, width);
    let mask = emptyMask(height, width);
    for (const numbers of segment.polygons ?? []) {
      const corners = Array.from({ length: numbers.length / 2 }, (_, k) => [numbers[2 * k]!, numbers[2 * k + 1]!] as const);
      mask = united(mask, filledPolygon(emptyMask(height, width), corners));
    }
    return mask;
  } catch {
    return emptyMask(height, width);
  }
}

/** Pixels per side of a new map: the picture's own, in steps that a hand can paint. */
export function mapSize(): readonly [number, number] {
  const [height, width] = size.value;
  const scale = Math.min(1, 256 / Math.max(height, width));
  return [Math.max(8, Math.round(height * scale)), Math.max(8, Math.round(width * scale))];
}

/** A shape painted in a class: what it covers is taken from the other segments. The thing takes the colour's name until it has its own words. */
export function paint(shape: Mask, label: string, key: string | null): void {
  edit((before) => {
    const { height, width } = shape;
    const items: Segment[] = [];
    let placed = false;
    for (const one of before.segments.items) {
      const own = one.key === key || (key === null && one.label === label && label !== '');
      const old = maskOf(one, height, width);
      const next = own ? united(old, shape) : without(old, shape);
      const same = old.data.every((value, k) => value === next.data[k]);
      if (own) placed = true;
      if (!isEmpty(next)) items.push(same ? one : { ...withoutShape(one), rle: encode(next) });
    }
    if (!placed && label) {
      const made: Segment = { key: freshKey(), phrase: '', label, rle: encode(shape), backdrop: true };
      items.push(made);
    }
    return { ...before, segments: { height, width, items } };
  });
}

function withoutShape(segment: Segment): Segment {
  const { polygons: _polygons, rle: _rle, ...rest } = segment;
  return rest;
}

/** Words make a region of a segment; without words it is backdrop. */
export function renameSegment(key: string, phrase: string): void {
  const words = phrase.trim();
  edit((before) => {
    const named = mapThing(before, key, (thing) => ({ ...(thing as Segment), phrase: words, backdrop: !words }) as Segment);
    return words ? { ...named, prompt: withPhrase(named.prompt, words) } : named;
  });
}

export const classColour = (label: string): string => {
  const found = vocabulary.value.find((one) => one.name === label);
  return found ? `rgb(${found.colour.join(' ')})` : 'rgb(128 128 128)';
};

/** A thing's colours: a segment has its class's own, everything else the tone of its turn. */
export function tintOf(key: string): Tone {
  const segment = doc.value.segments.items.find((one) => one.key === key);
  if (!segment) return tone(tones.value.byKey.get(key) ?? 0);
  const own = classColour(segment.label);
  return { strong: own, bright: own };
}

// -- branches --------------------------------------------------------------------------------------------------------------------

export function chooseFidelity(name: string): void {
  edit((before) => {
    const stay = before.spatial.filter((one) => !obstacle(name, one.name));
    const left = stay.length ? stay : firstThatFits(name, kinds.value[0] ?? 'boxes');
    return { ...before, fidelity: branch(name), spatial: left, height: null, width: null, steps: null };
  });
}

function firstThatFits(fidelity: string, kind: ConditionKind): Document['spatial'] {
  const plugin = fidelity.split('/')[0];
  const fitting = (components.value?.branches ?? []).filter((one) => one.condition === kind && !obstacle(fidelity, one.id));
  const best = fitting.find((one) => one.id.startsWith(`${plugin}/`)) ?? fitting[0];
  return best ? [branch(best.id)] : [];
}

export function toggleSpatial(name: string): void {
  edit((before) => {
    const there = before.spatial.some((one) => one.name === name);
    return { ...before, spatial: there ? before.spatial.filter((one) => one.name !== name) : [...before.spatial, branch(name)] };
  });
}

/** Shows the canvas of a kind; a branch that takes it joins the run where none does. */
export function openCanvas(kind: ConditionKind): void {
  if (!kinds.value.includes(kind)) {
    const found = firstThatFits(doc.value.fidelity.name, kind);
    if (!found.length) {
      notice.value = { text: `No model here takes ${kind === 'keypoints' ? 'poses' : kind} beside ${doc.value.fidelity.name}.`, tone: 'wrong' };
      return;
    }
    edit((before) => ({ ...before, spatial: [...before.spatial, ...found] }));
    notice.value = { text: `${found[0]!.name} joined the run: it takes ${kind === 'keypoints' ? 'poses' : kind === 'boxes' ? 'boxes' : 'painted maps'}.`, tone: 'fine', undoable: true };
  }
  canvas.value = kind;
  selected.value = null;
}

/** The step that suits a size: heights and widths are multiples of it. */
export const sizeStep = (): number => branchPart(doc.value.fidelity.name)?.multiple ?? 8;
export const validShare = (value: number): number => clamp(value, 0, 1);
