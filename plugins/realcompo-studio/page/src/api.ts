// The server's routes (../API.md) with their types. Nothing here keeps state.
import type { Box, Point } from './model/geometry';
import type { ConditionKind } from './model/document';
import type { Json, Schema } from './model/schema';

export interface Problem {
  readonly kind: string;
  readonly what: string;
  readonly where: string | null;
  readonly mend: string | null;
  readonly at: readonly (string | number)[] | null;
  readonly text: string;
}
export interface Part {
  readonly id: string;
  readonly summary: string;
  readonly distribution: string;
  readonly schema: Schema;
  readonly defaults: Readonly<Record<string, Json>>;
}
export interface BranchPart extends Part {
  readonly role: 'fidelity' | 'spatial' | null;
  readonly condition: ConditionKind | null;
  readonly family: string | null;
  readonly size: readonly [number, number] | null;
  readonly multiple: number | null;
  readonly max_objects: number | null;
  readonly vocabulary: readonly string[] | null;
  readonly classes: readonly string[] | null;
  readonly guidance_scale: number | null;
  readonly steps: number | null;
  readonly licence: string | null;
  readonly prompt: string | null;
  readonly problem: Problem | null;
}
export interface PlannerPart extends Part {
  readonly kinds: readonly string[];
  readonly revises: boolean | null;
}
type Verdicts = Readonly<Record<string, Problem | null>>;
export interface Components {
  readonly checked: boolean;
  readonly branches: readonly BranchPart[];
  readonly balancers: readonly Part[];
  readonly planners: readonly PlannerPart[];
  readonly schedulers: readonly string[];
  readonly pairs: Readonly<Record<string, Verdicts>> | null;
  readonly solvers: Readonly<Record<string, Verdicts>> | null;
  readonly balances: Verdicts | null;
}
export interface State {
  readonly version: string;
  readonly run: string;
  readonly warm: boolean;
  readonly device: string | null;
  readonly devices: readonly string[];
  readonly embedded: { readonly ready: boolean; readonly problem: Problem | null };
  readonly recipe: Readonly<Record<string, Json>>;
  readonly sample: { readonly prompt: string; readonly conditions: Readonly<Record<string, Json>> } | null;
  readonly problems: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
  readonly folder: string;
}
export interface Region {
  readonly id: string;
  readonly phrase: string;
  readonly box: Box;
  readonly span: readonly [number, number] | null;
  readonly kinds: readonly ConditionKind[];
}
export interface Step {
  readonly index: number;
  readonly count: number;
  readonly phase: string;
  readonly left: number | null;
  readonly spent: number | null;
  readonly loss: number | null;
  readonly losses: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly gradients: Readonly<Record<string, number>> | null;
  readonly slope: number | null;
  readonly moves: Readonly<Record<string, number>> | null;
  readonly acting: readonly string[];
  readonly weights: Readonly<Record<string, number>>;
  readonly preview: boolean;
}
export type JobStatus = 'queued' | 'running' | 'done' | 'failed' | 'cancelled' | 'interrupted';
export interface Job {
  readonly id: string;
  readonly client: string | null;
  readonly kind: 'picture' | 'parent';
  readonly status: JobStatus;
  readonly device: string;
  readonly position: number | null;
  readonly step: number;
  readonly count: number;
  readonly phase: string | null;
  readonly left: number | null;
  readonly prompt: string;
  readonly seed: number | null;
  readonly size: readonly [number, number];
  readonly branches: readonly string[];
  readonly created: number;
  readonly regions: readonly Region[];
  readonly remarks: readonly string[];
  readonly preview: number | null;
  readonly picture: string | null;
  readonly of: string | null;
  readonly parent: 'fidelity' | 'spatial' | null;
  readonly error: Problem | null;
  readonly recipe?: Readonly<Record<string, Json>>;
}
export interface FieldMap {
  readonly height: number;
  readonly width: number;
  readonly low: number;
  readonly high: number;
  readonly data: string;
}
export interface InsideMaps extends Omit<Step, 'weights'> {
  readonly weights: Readonly<Record<string, FieldMap>>;
  readonly attention: Readonly<Record<string, Readonly<Record<string, FieldMap>>>>;
}
export interface Trace {
  readonly branches: readonly string[];
  readonly regions: readonly Region[];
  readonly count: number;
  readonly steps: readonly Step[];
  readonly previews: readonly number[];
  readonly cost: Readonly<Record<string, number>>;
}
export interface Picture {
  readonly name: string;
  readonly prompt: string;
  readonly seed: number | null;
  readonly width: number;
  readonly height: number;
  readonly modified: number;
  readonly branches: readonly string[];
  readonly trace: boolean;
  readonly parents: readonly string[];
  readonly whole: boolean;
  readonly problem: Problem | null;
}
export interface Imported {
  readonly recipe: Readonly<Record<string, Json>>;
  readonly remarks: readonly string[];
  readonly regions: readonly Region[];
  readonly known: boolean;
}
export interface Match {
  readonly id: string;
  readonly span: readonly [number, number] | null;
  readonly problem: Problem | null;
}
export interface Checked {
  readonly fine: boolean;
  readonly errors: readonly Problem[];
  readonly remarks: readonly string[];
  readonly recipe: Readonly<Record<string, Json>> | null;
  readonly cost: { readonly total: number; readonly seconds: number | null } | null;
}
export interface Planned {
  readonly picture: { readonly prompt: string; readonly conditions: Readonly<Record<string, Json>> };
  readonly remarks: readonly string[];
}
export interface Poses {
  readonly poses: Readonly<Record<string, Readonly<Record<string, Point>>>>;
  readonly joint_colours: readonly (readonly [number, number, number])[];
  readonly limb_colours: readonly (readonly [number, number, number])[];
}
export interface VocabularyClass {
  readonly name: string;
  readonly colour: readonly [number, number, number];
  readonly words: readonly string[];
}

/** What the server refuses, as it says it. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly problems: readonly Problem[],
  ) {
    super(problems[0]?.what ?? `the server answered ${status}`);
  }
}

const plain = (what: string, mend: string): Problem => ({ kind: 'Refused', what, where: null, mend, at: null, text: what });

async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, { credentials: 'same-origin', ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Refused(0, [plain('The studio does not answer', 'see whether `realcompo studio` still runs, and start it again')]);
  }
  if (answer.ok) return (await answer.json()) as T;
  let problems: Problem[] = [];
  try {
    problems = ((await answer.json()) as { errors?: Problem[] }).errors ?? [];
  } catch {
    problems = [];
  }
  if (!problems.length) problems = [plain(`The studio answered ${answer.status}`, 'look at what its terminal says')];
  throw new Refused(answer.status, problems);
}

const post = <T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> =>
  ask<T>(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });

const part = encodeURIComponent;
type RecipeData = Readonly<Record<string, Json>>;
export type RecipeForm = 'json' | 'toml' | 'yaml' | 'python' | 'command';

export const api = {
  state: () => ask<State>('/api/state'),
  components: () => ask<Components>('/api/components'),
  poses: (box: Box, size: readonly [number, number]) => ask<Poses>(`/api/poses?box=${box.join(',')}&size=${size.join(',')}`),
  vocabulary: (branch: string | null) =>
    ask<{ closed: boolean; classes: VocabularyClass[] }>(`/api/vocabulary${branch ? `?branch=${part(branch)}` : ''}`),
  phrases: (prompt: string, items: readonly { id: string; phrase: string }[], signal?: AbortSignal) =>
    post<{ matches: Match[] }>('/api/phrases', { prompt, items }, signal),
  plan: (recipe: RecipeData, wish: string, locked: readonly string[]) => post<Planned>('/api/plan', { recipe, wish, locked }),
  check: (recipe: RecipeData, signal?: AbortSignal) => post<Checked>('/api/check', { recipe }, signal),
  draw: (recipe: RecipeData, client: string) => post<{ jobs: Job[] }>('/api/draw', { recipe, client }),
  jobs: (query: string) => ask<{ jobs: Job[] }>(`/api/jobs?${query}`),
  job: (id: string) => ask<Job>(`/api/jobs/${part(id)}`),
  cancel: (id: string, keep: boolean) => post<Job>(`/api/jobs/${part(id)}/cancel`, { keep }),
  pictures: (offset = 0, limit = 60) => ask<{ total: number; pictures: Picture[] }>(`/api/pictures?offset=${offset}&limit=${limit}`),
  picture: (name: string) => ask<Picture>(`/api/pictures/${part(name)}`),
  trace: (name: string) => ask<Trace>(`/api/pictures/${part(name)}/trace`),
  restore: (name: string) => ask<Imported>(`/api/pictures/${part(name)}/state`),
  parents: (name: string) => post<{ jobs: Job[] }>(`/api/pictures/${part(name)}/parents`, {}),
  inside: (base: string, index: number) => ask<InsideMaps>(`${base}/steps/${index}`),
  recipeOf: (name: string, as: RecipeForm) => ask<{ text: string; file: string }>(`/api/pictures/${part(name)}/recipe?as=${as}`),
  recipeText: (recipe: RecipeData, as: RecipeForm) => post<{ text: string; file: string }>('/api/recipe', { recipe, as }),
  bring: (file: Blob) => ask<Imported>('/api/import', { method: 'POST', headers: { 'Content-Type': 'image/png' }, body: file }),
};

export const url = {
  jobs: (id: string) => `/api/jobs/${part(id)}`,
  pictures: (name: string) => `/api/pictures/${part(name)}`,
  image: (name: string) => `/api/pictures/${part(name)}/image`,
  thumbnail: (name: string) => `/api/pictures/${part(name)}/thumbnail`,
  download: (name: string) => `/api/pictures/${part(name)}/image?download=1`,
  recipe: (name: string, as: RecipeForm) => `/api/pictures/${part(name)}/recipe?as=${as}&download=1`,
  parent: (name: string, which: string) => `/api/pictures/${part(name)}/parents/${which}`,
};
