// The gallery, pictures that are brought, and beginnings.
import { batch } from '@preact/signals';
import { api, Refused, url } from './api';
import { EMPTY } from './model/document';
import { sentence } from './model/words';
import { fail, placed, problem, restore } from './shared';
import * as store from './store';

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
