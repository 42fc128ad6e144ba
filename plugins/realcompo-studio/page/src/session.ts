// What happens between page and server: the start, checking, planning, drawing, and the stream of events.
import { batch, effect } from '@preact/signals';
import { api, Refused, url, type Job, type Problem, type Region, type Step } from './api';
import { allRegionIds, EMPTY, freshKey, KINDS, thingsOf, type BoxThing, type Document, type Person, type Segment } from './model/document';
import { canvases, conditions, fromRecipe, toRecipe } from './model/recipe';
import type { Json } from './model/schema';
import { sentence } from './model/words';
import * as store from './store';

type Table = Readonly<Record<string, Json>>;

export async function start(): Promise<void> {
  const kept = store.recall();
  store.keep();
  try {
    store.state.value = await api.state();
    if (!kept) begin(store.state.value.recipe);
    await fetchComponents();
  } catch (error) {
    fail(error);
  }
  listen(kept !== null && !kept.picture);
  watch();
  void fetchGallery();
  if (kept?.picture) void showPicture(kept.picture).catch(() => undefined);
}

/** The document of the machine's configuration: where a first visit begins. */
function begin(recipe: Table): void {
  if (!Object.keys(recipe).length) return;
  const told = fromRecipe(recipe);
  store.history.value = {
    past: [],
    present: { ...told, seed: told.seed ?? 7, steps: null, planner: told.planner ?? EMPTY.planner, prompt: '' },
    future: [],
    tag: null,
  };
}

async function fetchComponents(): Promise<void> {
  store.components.value = await api.components();
}

export function fail(error: unknown): void {
  if (error instanceof DOMException && error.name === 'AbortError') return;
  if (error instanceof Refused) store.mishaps.value = error.problems;
  else store.mishaps.value = [problem('The page stumbled', error instanceof Error ? error.message : String(error))];
}

const problem = (what: string, mend: string | null): Problem => ({ kind: 'Page', what, where: null, mend, at: null, text: what });

/** That the server looks for in one question. */
const MOST_PHRASES = 200;

// -- what follows the document ---------------------------------------------------------------------------------------------------

function watch(): void {
  follow(
    () => [store.doc.value.prompt, store.things.value.map((thing) => thing.phrase).join('\n')],
    120,
    async (signal) => {
      const named = store.things.value.filter((thing) => thing.phrase.trim()).slice(0, MOST_PHRASES);
      const items = named.map((thing) => ({ id: thing.key, phrase: thing.phrase }));
      const prompt = store.doc.value.prompt;
      const found = items.length ? (await api.phrases(prompt, items, signal)).matches : [];
      batch(() => {
        store.matches.value = Object.fromEntries(found.map((one) => [one.id, one]));
        store.matchedPrompt.value = prompt;
      });
    },
  );
  follow(
    () => [store.doc.value, store.components.value?.checked ?? false],
    500,
    async (signal) => {
      if (!store.components.value?.checked || !store.doc.value.prompt.trim()) {
        store.checked.value = null;
        store.faults.value = [];
        return;
      }
      const found = await api.check(recipe(), signal);
      store.checked.value = found;
      store.faults.value = found.errors.map(besideItsField);
    },
  );
  effect(() => {
    void store.doc.value;
    store.mishaps.value = [];
  });
  let last: string | null = null;
  effect(() => {
    const segmentation = store.doc.value.spatial.find((one) => store.branchPart(one.name)?.condition === 'segmentation')?.name ?? null;
    if (segmentation === last) return;
    last = segmentation;
    if (segmentation)
      void api
        .vocabulary(segmentation)
        .then((found) => {
          store.vocabulary.value = found.classes;
          if (!found.classes.some((one) => one.name === store.paintClass.value)) store.paintClass.value = found.classes[0]?.name ?? '';
        })
        .catch(fail);
  });
  effect(() => {
    if (!store.kinds.value.includes('keypoints')) return;
    void api
      .poses([0.3, 0.08, 0.7, 0.94], store.size.value)
      .then((found) => void (store.poses.value = found))
      .catch(() => undefined);
  });
  effect(() => {
    if (store.kinds.value.length && !store.kinds.value.includes(store.canvas.peek())) store.canvas.value = store.kinds.value[0]!;
  });
}

/** A size that does not suit the fidelity branch belongs to the side that is wrong, not to the branch. */
function besideItsField(found: Problem): Problem {
  if (found.kind !== 'Incompatible' || found.at?.length !== 2 || found.at[1] !== 0 || !/ pixels: /u.test(found.what)) return found;
  const multiple = store.fidelityPart.value?.multiple ?? 8;
  return { ...found, at: [(store.doc.value.width ?? 0) % multiple ? 'width' : 'height'] };
}

/** Runs a task some time after what it depends on last changed; one that was overtaken is broken off. */
function follow(depends: () => unknown[], delay: number, task: (signal: AbortSignal) => Promise<void>): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running: AbortController | undefined;
  effect(() => {
    depends();
    clearTimeout(timer);
    timer = setTimeout(() => {
      running?.abort();
      running = new AbortController();
      task(running.signal).catch((error: unknown) => {
        if (!(error instanceof Refused) || error.status === 0) return;
        fail(error);
      });
    }, delay);
  });
}

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

// -- plan and draw ---------------------------------------------------------------------------------------------------------------

export async function plan(wish: string): Promise<boolean> {
  store.planning.value = true;
  store.mishaps.value = [];
  try {
    const ids = allRegionIds(store.doc.value);
    const locked = store.things.value.filter((thing) => thing.locked).map((thing) => ids.get(thing.key) ?? thing.phrase);
    const found = await api.plan(recipe(), wish, locked);
    store.edit((before) => placed(before, found.picture.conditions));
    store.notice.value = { text: found.remarks.map(sentence).join(' ') || (wish ? 'Changed as you said.' : 'Placed. Move what you would have elsewhere.'), tone: 'fine', undoable: true };
    store.said.value = store.notice.value.text;
    return true;
  } catch (error) {
    if (error instanceof Refused) store.mishaps.value = error.problems.map((one) => ({ ...one, at: one.at ?? ['plan'] }));
    else fail(error);
    return false;
  } finally {
    store.planning.value = false;
  }
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

export async function draw(): Promise<void> {
  if (!store.doc.value.prompt.trim() || store.isBusy.value) return;
  if (Object.keys(store.unreadable.value).length) {
    store.said.value = 'A field holds what is no value';
    return;
  }
  store.mishaps.value = [];
  store.notice.value = null;
  asking = true;
  early = [];
  try {
    const { jobs } = await api.draw(recipe(), store.client);
    const [job] = jobs;
    if (!job) return;
    attach(job);
    for (const [name, data] of early) if (data.job === job.id) handles[name]!(data);
  } catch (error) {
    fail(error);
  } finally {
    asking = false;
    early = [];
  }
}
/** Whether Draw was pressed and not answered yet. */
let asking = false;

export async function cancel(): Promise<void> {
  const job = store.job.value;
  if (!job) return;
  try {
    await api.cancel(job.id, false);
  } catch (error) {
    if (!(error instanceof Refused && error.status === 409)) fail(error);
  }
}

function attach(job: Job): void {
  batch(() => {
    store.job.value = job;
    store.pinned.value = null;
    store.view.value = { kind: 'picture' };
    store.shownImage.value = null;
    store.exhibit.value = {
      base: url.jobs(job.id),
      job: job.id,
      picture: null,
      image: null,
      regions: job.regions,
      branches: job.branches,
      count: job.count,
      steps: [],
      parents: [],
      traced: true,
      remarks: job.remarks,
    };
  });
}

/** A run that was under way when the page was loaded: the steps that are over are fetched. */
async function reattach(job: Job): Promise<void> {
  attach(job);
  const full = await api.job(job.id);
  if (full.recipe && !store.doc.value.prompt) restore(full.recipe);
  if (job.preview !== null) showPreview(job.id, job.preview);
  for (let index = 0; index < job.step; index++) {
    const inside = await api.inside(url.jobs(job.id), index).catch(() => null);
    if (!inside || store.exhibit.value?.job !== job.id) return;
    addStep({ ...inside, weights: {} } as unknown as Step);
  }
}

// -- events ----------------------------------------------------------------------------------------------------------------------

interface Told {
  readonly job: string | null;
  readonly state?: Job;
  readonly jobs?: readonly Job[];
  readonly phase?: string;
  readonly regions?: readonly Region[];
  readonly conditions?: Table;
  readonly remarks?: readonly string[];
  readonly picture?: string | null;
  readonly error?: Problem;
  readonly order?: readonly string[];
}

type Handle = (data: Told) => void;
const mine = (data: Told): boolean => data.job !== null && data.job === store.job.value?.id;
/** Of a run: what happens at each of its events. */
const handles: Readonly<Record<string, Handle>> = {
  queued: (data) => mine(data) && data.state && (store.job.value = data.state),
  started: (data) => mine(data) && data.state && (store.job.value = data.state),
  phase: (data) => mine(data) && (store.job.value = { ...store.job.value!, phase: data.phase ?? null }),
  planned: (data) => mine(data) && planned(data),
  step: (data) => mine(data) && stepped(data as unknown as Step & { job: string }),
  done: (data) => finish(data),
  failed: (data) => mine(data) && ended(data.state!, null, data.error ?? null),
  cancelled: (data) => mine(data) && ended(data.state!, data.picture ?? null, null),
};
/** Events that came before the answer to Draw, which tells the run's id: a short run may be over by then. */
let early: (readonly [string, Told])[] = [];
const MOST_EARLY = 400;

function listen(fresh: boolean): void {
  const source = new EventSource('/api/events');
  const on = (name: string, handle: Handle): void =>
    source.addEventListener(name, (event) => handle(JSON.parse((event as MessageEvent<string>).data) as Told));
  source.onopen = () => void (store.connection.value = 'there');
  source.onerror = () => void (store.connection.value = 'lost');
  on('state', ({ jobs = [] }) => {
    const own = jobs.filter((job) => job.client === store.client && job.kind === 'picture');
    const now = store.job.value && own.find((job) => job.id === store.job.value?.id);
    const open = own.findLast((job) => job.status === 'queued' || job.status === 'running');
    if (now && !['queued', 'running'].includes(now.status)) ended(now, now.picture, now.error);
    else if (open && open.id !== store.job.value?.id) void reattach(open).catch(fail);
    else if (store.isBusy.value && !now) store.job.value = null;
    else if (fresh && !store.exhibit.value) {
      // It was finished while the page was away.
      const last = own.findLast((job) => job.status === 'done' && job.picture);
      if (last?.picture) void showPicture(last.picture).catch(() => undefined);
    }
    fresh = false;
  });
  on('queue', ({ order = [] }) => {
    const at = store.job.value ? order.indexOf(store.job.value.id) : -1;
    if (store.job.value?.status === 'queued' && at >= 0) store.job.value = { ...store.job.value, position: at };
  });
  for (const [name, handle] of Object.entries(handles))
    on(name, (data) => {
      if (asking) early = [...early, [name, data] as const].slice(-MOST_EARLY);
      handle(data);
    });
  on('picture', () => void fetchGallery());
  on('components', () => void fetchComponents().catch(fail));
}

function planned(data: Told): void {
  const exhibit = store.exhibit.value;
  if (exhibit?.job !== data.job) return;
  store.exhibit.value = { ...exhibit, regions: data.regions ?? [], remarks: data.remarks ?? [] };
  // What the planner placed for a canvas that was empty comes onto it.
  const empty = store.kinds.value.filter((kind) => thingsOf(store.doc.value, kind).length === 0);
  const told = Object.fromEntries(Object.entries(data.conditions ?? {}).filter(([kind]) => (empty as readonly string[]).includes(kind)));
  if (Object.keys(told).length) store.edit((before) => placed(before, told));
}

function stepped(step: Step & { job: string }): void {
  const job = store.job.value!;
  store.job.value = { ...job, status: 'running', step: step.index + 1, count: step.count, phase: step.phase, left: step.left };
  addStep(step);
  if (step.preview && store.pinned.value === null) showPreview(step.job, step.index);
}

function addStep(step: Step): void {
  const exhibit = store.exhibit.value;
  if (!exhibit) return;
  const steps = [...exhibit.steps.filter((one) => one.index !== step.index), step].sort((a, b) => a.index - b.index);
  store.exhibit.value = { ...exhibit, steps, count: step.count };
}

let newest = -1;
/** A preview replaces the last one when it has been read: the stage never goes blank between two. */
function showPreview(job: string, index: number): void {
  newest = index;
  const address = `${url.jobs(job)}/previews/${index}`;
  const image = new Image();
  image.src = address;
  void image
    .decode()
    .then(() => {
      if (store.exhibit.value?.job === job && store.isBusy.value && index >= newest - 1) store.shownImage.value = address;
    })
    .catch(() => undefined);
}

function finish(data: Told): void {
  if (data.job !== null && data.job === store.job.value?.id) ended(data.state!, data.picture ?? null, null);
  else if (data.state?.kind === 'parent' && data.state.of && data.state.of === store.exhibit.value?.picture) {
    const exhibit = store.exhibit.value;
    if (data.state.parent) store.exhibit.value = { ...exhibit, parents: [...new Set([...exhibit.parents, data.state.parent])] };
  }
}

function ended(job: Job, picture: string | null, error: Problem | null): void {
  batch(() => {
    store.job.value = job;
    if (error) store.mishaps.value = [error];
    if (job.status === 'cancelled') store.notice.value = { text: 'Stopped. Nothing was kept.', tone: 'fine' };
    if (job.status === 'interrupted') store.notice.value = { text: 'The studio was stopped in the midst of this run. Draw it again.', tone: 'wrong' };
    const exhibit = store.exhibit.value;
    if (picture && exhibit?.job === job.id) {
      store.exhibit.value = { ...exhibit, base: url.pictures(picture), picture, image: url.image(picture), job: null };
      store.shownImage.value = url.image(picture);
      store.said.value = 'The picture is done';
    } else if (job.status !== 'done') store.said.value = error ? `Failed: ${error.what}` : 'Stopped';
  });
  if (picture) void fetchGallery();
}

// -- gallery and pictures that are brought ---------------------------------------------------------------------------------------

export async function fetchGallery(): Promise<void> {
  try {
    const found = await api.pictures();
    store.gallery.value = found.pictures;
    store.galleryTotal.value = found.total;
  } catch (error) {
    fail(error);
  }
}

export async function moreGallery(): Promise<void> {
  const found = await api.pictures(store.gallery.value.length);
  store.gallery.value = [...store.gallery.value, ...found.pictures];
}

/** A picture of the gallery on the stage, with all that is known of its run. */
export async function showPicture(name: string): Promise<void> {
  const picture = await api.picture(name);
  const trace = picture.trace ? await api.trace(name).catch(() => null) : null;
  batch(() => {
    if (!store.isBusy.value) store.job.value = null;
    store.pinned.value = null;
    store.view.value = { kind: 'picture' };
    store.exhibit.value = {
      base: url.pictures(name),
      job: null,
      picture: name,
      image: url.image(name),
      regions: trace?.regions ?? [],
      branches: trace?.branches ?? picture.branches,
      count: trace?.count ?? 0,
      steps: trace?.steps ?? [],
      parents: picture.parents,
      traced: trace !== null,
      remarks: [],
    };
    store.shownImage.value = url.image(name);
  });
}

/** Everything of a picture comes back: its state onto the canvas, itself onto the stage. */
export async function reopen(name: string): Promise<void> {
  try {
    const [found] = await Promise.all([api.restore(name), showPicture(name)]);
    restore(found.recipe);
    store.notice.value = { text: 'Back as it was drawn.', tone: 'fine', undoable: true };
  } catch (error) {
    fail(error);
  }
}

export function restore(recipe: Table): void {
  const told = fromRecipe(recipe);
  store.edit((before) => ({ ...told, planner: told.planner ?? before.planner }));
  store.selected.value = null;
  const kind = KINDS.find((one) => thingsOf(told, one).length > 0);
  if (kind) store.canvas.value = kind;
}

/** A PNG from outside: its recipe becomes the state, its pixels are shown. The server judges what is in it. */
export async function bring(file: File): Promise<void> {
  if (file.type.startsWith('image/') && file.type !== 'image/png') {
    // Only a PNG can carry a recipe; a photo is there to be traced.
    store.tracing.value = { source: URL.createObjectURL(file), opacity: 0.55 };
    store.notice.value = { text: `${file.name} lies below the canvas, to trace it.`, tone: 'fine' };
    return;
  }
  const most = store.state.value?.limits['upload'] ?? Infinity;
  if (file.size > most) {
    const what = `${file.name} is larger than ${Math.floor(most / 1048576)} MB`;
    store.mishaps.value = [{ ...problem(what, 'drop a picture that RealCompo drew'), at: ['import'] }];
    return;
  }
  try {
    const found = await api.bring(file);
    restore(found.recipe);
    const address = URL.createObjectURL(file);
    batch(() => {
      if (!store.isBusy.value) store.job.value = null;
      store.exhibit.value = {
        base: '',
        job: null,
        picture: null,
        image: address,
        regions: found.regions,
        branches: [store.doc.value.fidelity.name, ...store.doc.value.spatial.map((one) => one.name)],
        count: 0,
        steps: [],
        parents: [],
        traced: false,
        remarks: [],
      };
      store.shownImage.value = address;
      store.view.value = { kind: 'picture' };
      store.notice.value = { text: [`Everything of ${file.name} is back.`, ...found.remarks.map(sentence)].join(' '), tone: 'fine', undoable: true };
    });
  } catch (error) {
    if (error instanceof Refused) store.mishaps.value = error.problems.map((one) => ({ ...one, at: ['import'] }));
    else fail(error);
  }
}

export async function askParents(): Promise<void> {
  const exhibit = store.exhibit.value;
  if (!exhibit?.picture) return;
  try {
    const { jobs } = await api.parents(exhibit.picture);
    if (!jobs.length) await showPicture(exhibit.picture);
  } catch (error) {
    fail(error);
  }
}

/** An empty page, with the models as they are; undo brings the old one back. */
export function beginAnew(): void {
  store.edit((before) => ({ ...EMPTY, fidelity: before.fidelity, spatial: before.spatial, balancer: before.balancer, planner: before.planner }));
  batch(() => {
    store.selected.value = null;
    store.naming.value = null;
    store.view.value = { kind: 'picture' };
    if (store.isBusy.value) return;
    store.job.value = null;
    store.exhibit.value = null;
    store.shownImage.value = null;
  });
}

export function tryExample(): void {
  const sample = store.state.value?.sample;
  if (!sample) return;
  store.edit((before) => placed({ ...before, prompt: sample.prompt, boxes: [], people: [] }, sample.conditions));
}

const everything = (document: Document): readonly (BoxThing | Person | Segment)[] => [...document.boxes, ...document.people, ...document.segments.items];
