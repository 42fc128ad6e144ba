// A run, from Draw to its picture: asked for, followed by its events, found again after a reload, stopped.
import { batch } from '@preact/signals';
import { api, Refused, url, type Job, type Problem, type Region, type Step } from './api';
import { thingsOf } from './model/document';
import { meanOf } from './model/maps';
import { fetchGallery, showPicture } from './pictures';
import { fail, placed, recipe, restore, type Table } from './shared';
import * as store from './store';

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
  newest = -1;
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
    const weights = Object.fromEntries(Object.entries(inside.weights).map(([name, map]) => [name, meanOf(map)]));
    addStep({ ...inside, weights });
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

/** Follow the server's events. `fresh`: the page was loaded anew, and held no picture.
 * `looked`: what is done when the server has looked at all components. */
export function listen(fresh: boolean, looked: () => void): void {
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
  on('components', looked);
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
/** A preview replaces the last one when it has been read, so the stage never goes blank between two; none replaces one of a later step. */
function showPreview(job: string, index: number): void {
  const address = `${url.jobs(job)}/previews/${index}`;
  const image = new Image();
  image.src = address;
  void image
    .decode()
    .then(() => {
      if (store.exhibit.value?.job !== job || !store.isBusy.value || index <= newest) return;
      newest = index;
      store.shownImage.value = address;
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
