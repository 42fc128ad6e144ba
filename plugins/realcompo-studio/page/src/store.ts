// The page's one store. What decides the picture is one document with undo; what is merely looked at is a handful of signals beside it.
import { batch, computed, effect, signal } from '@preact/signals';
import type { BranchPart, Checked, Components, Job, Picture, Poses, Problem, Region, State, Step, VocabularyClass } from './api';
import { begun, changed, redone, settled, undone, type History } from './model/history';
import { allRegionIds, EMPTY, KINDS, thingsOf, type ConditionKind, type Document, type Thing } from './model/document';
import type { Guide } from './model/geometry';

// -- what is being made ----------------------------------------------------------------------------------------------------------

export const history = signal<History<Document>>(begun(EMPTY));
export const doc = computed(() => history.value.present);

/** Change the document. Changes with the same tag that follow each other are one step of undo. */
export function edit(change: (before: Document) => Document, tag: string | null = null): void {
  history.value = changed(history.value, change(doc.value), tag);
}
export const settle = (): void => void (history.value = settled(history.value));
export function undo(): void {
  history.value = undone(history.value);
  keepSelection();
}
export function redo(): void {
  history.value = redone(history.value);
  keepSelection();
}
export const canUndo = computed(() => history.value.past.length > 0);
export const canRedo = computed(() => history.value.future.length > 0);

// -- what the server offers ------------------------------------------------------------------------------------------------------

export const state = signal<State | null>(null);
export const components = signal<Components | null>(null);
export const poses = signal<Poses | null>(null);
export const vocabulary = signal<readonly VocabularyClass[]>([]);
export const connection = signal<'waiting' | 'there' | 'lost'>('waiting');

export const branchPart = (name: string): BranchPart | null => components.value?.branches.find((one) => one.id === name) ?? null;
export const fidelityPart = computed(() => branchPart(doc.value.fidelity.name));

/** Why a spatial branch cannot draw with the fidelity branch that is chosen; null where it can, or where that is not known yet. */
export function obstacle(fidelity: string, spatial: string): Problem | null {
  return branchPart(spatial)?.problem ?? components.value?.pairs?.[fidelity]?.[spatial] ?? null;
}

/** Kinds of condition that the chosen spatial branches take. */
export const kinds = computed<readonly ConditionKind[]>(() => {
  const found = new Set(doc.value.spatial.map((one) => branchPart(one.name)?.condition ?? (one.name === 'mini/boxes' ? 'boxes' : null)));
  return KINDS.filter((kind) => found.has(kind));
});

/** (height, width) in pixels of the picture to be drawn. */
export const size = computed<readonly [number, number]>(() => {
  const usual = fidelityPart.value?.size ?? [128, 128];
  return [doc.value.height ?? usual[0], doc.value.width ?? usual[1]];
});
export const aspect = computed(() => {
  const ratio = size.value[1] / size.value[0];
  return Number.isFinite(ratio) && ratio > 0.1 && ratio < 10 ? ratio : 1;
});

// -- what is looked at -----------------------------------------------------------------------------------------------------------

export type Tool = 'select' | 'brush' | 'erase' | 'polygon' | 'fill';
export type Panel = 'look' | 'gallery' | 'share';
/** What lies under the layout on the stage: the paper, the picture, or one of a run's maps. */
export type View =
  | { readonly kind: 'picture' }
  | { readonly kind: 'paper' }
  | { readonly kind: 'weight'; readonly branch: string }
  | { readonly kind: 'attention'; readonly branch: string; readonly region: string };

export const canvas = signal<ConditionKind>('boxes');
export const selected = signal<string | null>(null);
export const hovered = signal<string | null>(null);
/** The thing whose words are being asked for beside it. */
export const naming = signal<string | null>(null);
export const tool = signal<Tool>('brush');
export const brushSize = signal(8);
export const paintClass = signal<string>('');
export const snapping = signal(true);
export const guides = signal<readonly Guide[]>([]);
export const layoutShown = signal(true);
export const panel = signal<Panel>('look');
export const view = signal<View>({ kind: 'picture' });
export const tracing = signal<{ readonly source: string; readonly opacity: number } | null>(null);
export const theme = signal<'auto' | 'light' | 'dark'>('auto');
/** Said aloud to those who do not see. */
export const said = signal('');
export const notice = signal<{ readonly text: string; readonly tone: 'fine' | 'wrong'; readonly undoable?: boolean } | null>(null);

export const things = computed<readonly Thing[]>(() => kinds.value.flatMap((kind) => [...thingsOf(doc.value, kind)]));
/** Colours go by the order in which things stand, over all canvases; things with the same words and id are one region. */
export const tones = computed(() => {
  const order = new Map<string, number>();
  const ids = allRegionIds(doc.value);
  const byRegion = new Map<string, number>();
  let next = 0;
  for (const kind of KINDS)
    for (const thing of thingsOf(doc.value, kind)) {
      const id = ids.get(thing.key);
      const known = id === undefined ? undefined : byRegion.get(id);
      const at = known ?? next++;
      if (id !== undefined) byRegion.set(id, at);
      order.set(thing.key, at);
    }
  return { byKey: order, byRegion };
});

function keepSelection(): void {
  if (selected.value && !KINDS.some((kind) => thingsOf(doc.value, kind).some((one) => one.key === selected.value))) selected.value = null;
}

// -- a run, or a picture that was drawn -------------------------------------------------------------------------------------------

/** What Look inside shows: a run of this tab, or a picture of the gallery. */
export interface Exhibit {
  /** Where its steps and previews are. */
  readonly base: string;
  readonly job: string | null;
  readonly picture: string | null;
  readonly image: string | null;
  readonly regions: readonly Region[];
  readonly branches: readonly string[];
  readonly count: number;
  readonly steps: readonly Step[];
  readonly parents: readonly string[];
  /** Whether there is anything to look into. */
  readonly traced: boolean;
  readonly remarks: readonly string[];
}
export const exhibit = signal<Exhibit | null>(null);
export const job = signal<Job | null>(null);
/** The step that is looked at; null follows the run. */
export const pinned = signal<number | null>(null);
export const shownStep = computed(() => {
  const found = exhibit.value;
  if (!found?.steps.length) return null;
  const wanted = pinned.value ?? found.steps.length - 1;
  return found.steps.find((one) => one.index === wanted) ?? found.steps.at(-1) ?? null;
});
/** Address of the picture on the stage. */
export const shownImage = signal<string | null>(null);

export const isBusy = computed(() => job.value?.status === 'queued' || job.value?.status === 'running');
export const planning = signal(false);

export const gallery = signal<readonly Picture[]>([]);
export const galleryTotal = signal(0);
export const comparing = signal<readonly string[]>([]);
export const isComparing = signal(false);

// -- what is wrong ---------------------------------------------------------------------------------------------------------------

/** Found in what is on the page. */
export const faults = signal<readonly Problem[]>([]);
/** Met while doing something: they stay until the document changes or something else is done. */
export const mishaps = signal<readonly Problem[]>([]);
export const problems = computed<readonly Problem[]>(() => {
  const all = [...mishaps.value, ...faults.value];
  return all.filter((one, k) => all.findIndex((other) => other.text === one.text) === k);
});
/** Typed into a field, and no value: field's path → what is wrong with it. */
export const unreadable = signal<Readonly<Record<string, string>>>({});
export const checked = signal<Checked | null>(null);
/** Where a phrase stands in the prompt, by key: found by the server, with its problem where it does not. */
export const matches = signal<Readonly<Record<string, { span: readonly [number, number] | null; problem: Problem | null }>>>({});
export const matchedPrompt = signal<string>('');

export const pathOf = (at: readonly (string | number)[] | null): string => (at ?? []).join('.');

/** Fields that have a place of their own on the page: a problem that belongs to none stands beside Draw. */
export function problemsAt(...prefixes: string[]): Problem[] {
  return problems.value.filter((one) => prefixes.some((prefix) => one.at && matchesPath(pathOf(one.at), prefix)));
}
export const matchesPath = (path: string, prefix: string): boolean => path === prefix || path.startsWith(`${prefix}.`);

// -- kept over a reload ----------------------------------------------------------------------------------------------------------

const KEPT = 'realcompo-studio';
interface Kept {
  readonly document: Document;
  readonly canvas: ConditionKind;
  readonly panel: Panel;
  readonly layoutShown: boolean;
  readonly picture: string | null;
}

/** This tab's name to the server. */
export const client = ((): string => {
  try {
    const known = sessionStorage.getItem(`${KEPT}-tab`);
    if (known) return known;
    const made = crypto.randomUUID();
    sessionStorage.setItem(`${KEPT}-tab`, made);
    return made;
  } catch {
    return crypto.randomUUID();
  }
})();

/** Fills the store with what the tab held; returns it, or null on a first visit. */
export function recall(): Kept | null {
  try {
    theme.value = (localStorage.getItem(`${KEPT}-theme`) as typeof theme.value | null) ?? 'auto';
    const text = sessionStorage.getItem(KEPT);
    if (!text) return null;
    const kept = JSON.parse(text) as Kept;
    batch(() => {
      history.value = begun({ ...EMPTY, ...kept.document });
      canvas.value = kept.canvas;
      panel.value = kept.panel;
      layoutShown.value = kept.layoutShown;
    });
    return kept;
  } catch {
    return null;
  }
}

export function keep(): void {
  let waiting: ReturnType<typeof setTimeout> | undefined;
  const write = (): void => {
    const kept: Kept = {
      document: doc.value,
      canvas: canvas.value,
      panel: panel.value,
      layoutShown: layoutShown.value,
      picture: exhibit.value?.picture ?? null,
    };
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(kept));
    } catch {
      // A full store keeps what it had.
    }
  };
  effect(() => {
    void [doc.value, canvas.value, panel.value, layoutShown.value, exhibit.value];
    clearTimeout(waiting);
    waiting = setTimeout(write, 150);
  });
  effect(() => {
    try {
      localStorage.setItem(`${KEPT}-theme`, theme.value);
    } catch {
      // Without a store the theme is chosen anew.
    }
    const chosen = theme.value;
    if (chosen === 'auto') document.documentElement.removeAttribute('data-theme');
    else document.documentElement.setAttribute('data-theme', chosen);
  });
  addEventListener('pagehide', write);
}
