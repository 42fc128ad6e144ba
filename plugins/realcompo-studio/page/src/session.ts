// The start, and what follows the document: its check, its words, its vocabulary; and plans for it.
import { batch, effect } from '@preact/signals';
import { api, Refused, type Problem } from './api';
import { allRegionIds, EMPTY } from './model/document';
import { fromRecipe } from './model/recipe';
import { sentence } from './model/words';
import { fetchGallery, showPicture } from './pictures';
import { listen } from './runs';
import { fail, placed, recipe, type Table } from './shared';
import * as store from './store';

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
  listen(kept !== null && !kept.picture, () => void fetchComponents().catch(fail));
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

// -- planning --------------------------------------------------------------------------------------------------------------------

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
