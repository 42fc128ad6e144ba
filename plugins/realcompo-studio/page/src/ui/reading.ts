// What the numbers of a run say, in words: pure functions of its steps.
import type { Step } from '../api';

/** Loss of a region at a step: the share of the attention to its words that lies elsewhere, mean over the branches that were asked. */
export function lossOf(step: Step | undefined, region: string): number | null {
  if (!step) return null;
  const found = Object.values(step.losses ?? {})
    .map((branch) => branch[region])
    .filter((value): value is number => typeof value === 'number');
  return found.length ? found.reduce((sum, value) => sum + value, 0) / found.length : null;
}

/** The same at the last step up to `index` at which it was known, and that step's index; `steps` in their order. */
export function knownLoss(steps: readonly Step[], index: number, region: string): { readonly loss: number; readonly index: number } | null {
  for (let k = steps.length - 1; k >= 0; k--) {
    const step = steps[k]!;
    if (step.index > index) continue;
    const loss = lossOf(step, region);
    if (loss !== null) return { loss, index: step.index };
  }
  return null;
}

/** Its loss alone. */
export const regionLoss = (steps: readonly Step[], index: number, region: string): number | null => knownLoss(steps, index, region)?.loss ?? null;

export interface Stretch {
  readonly phase: string;
  readonly from: number;
  readonly to: number;
}

/** Runs of steps of one phase; `to` is the last step's index. */
export function stretches(steps: readonly Step[]): Stretch[] {
  const found: { phase: string; from: number; to: number }[] = [];
  for (const step of steps) {
    const last = found.at(-1);
    if (last && last.phase === step.phase && last.to === step.index - 1) last.to = step.index;
    else found.push({ phase: step.phase, from: step.index, to: step.index });
  }
  return found;
}

export const PHASES: Readonly<Record<string, string>> = {
  'spatial alone': 'Layout',
  balanced: 'Balanced',
  'fidelity guided': 'Guided',
  'fidelity alone': 'Free',
};

const listed = (names: readonly string[]): string =>
  names.length < 2 ? (names[0] ?? 'the layout model') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)!}`;

/** What a phase does, for someone who has never read the paper. */
export function explained(phase: string | null, branches: readonly string[], learnt = true): string {
  const [fidelity = 'the picture model', ...spatial] = branches;
  const many = spatial.length > 1;
  switch (phase) {
    case 'loading':
      return 'Waking the models. Only the first picture has to wait for this.';
    case 'planning':
      return 'The planner looks for a place for each thing that the prompt names.';
    case 'spatial alone':
      return `${listed(spatial)} ${many ? 'draw' : 'draws'} alone. ${many ? 'They know' : 'It knows'} your layout, so each thing begins where you put it.`;
    case 'balanced':
      return learnt
        ? 'All models draw together. At each point more weight goes to the one whose attention keeps closer to your layout.'
        : 'All models draw together, each with the weight that its rule gives it.';
    case 'fidelity guided':
      return `${fidelity} draws now. Before each step the picture is nudged until the attention to each thing lies in its place again.`;
    case 'fidelity alone':
      return `${fidelity} finishes freely: shape, light and texture, on what was planted before.`;
    case 'decoding':
      return 'The last step is over: numbers become pixels.';
    default:
      return '';
  }
}

/** Why things stand where they do: what each model did to the whole picture, in the order of its steps. */
export function story(steps: readonly Step[], branches: readonly string[]): string {
  const [fidelity = 'the picture model', ...spatial] = branches;
  const runs = stretches(steps);
  const planted = runs.find((one) => one.phase === 'spatial alone');
  const middle = runs.filter((one) => one.phase === 'fidelity guided' || one.phase === 'balanced').at(-1);
  const free = runs.find((one) => one.phase === 'fidelity alone');
  const parts: string[] = [];
  if (planted) parts.push(`${listed(spatial)} planted each thing where you put it (${inSteps(planted)})`);
  if (middle?.phase === 'balanced') parts.push(`all models drew together, weighed against each other point by point (${inSteps(middle)})`);
  if (middle?.phase === 'fidelity guided') parts.push(`${fidelity} drew, and was nudged back to your layout before each step (${inSteps(middle)})`);
  if (free) parts.push(parts.length ? `${fidelity} finished freely (${inSteps(free)})` : `${fidelity} drew alone (${inSteps(free)})`);
  const told = parts.join('; then ');
  return told && `${/^[a-z-]+\//u.test(told) ? told : told[0]!.toUpperCase() + told.slice(1)}.`;
}

export type Verdict = 'held' | 'partly' | 'strayed' | 'unknown';

/** Whether a thing stayed, by the attention to its words when that was last read. */
export function stayed(steps: readonly Step[], region: string): { verdict: Verdict; text: string } {
  const loss = regionLoss(steps, steps.at(-1)?.index ?? 0, region);
  if (loss === null) return { verdict: 'unknown', text: 'stands where it was planted; no attention was read in this run.' };
  const share = `${Math.round((1 - loss) * 100)} %`;
  if (loss <= 0.45) return { verdict: 'held', text: `stayed: ${share} of the attention to it lay in its place.` };
  if (loss <= 0.7) return { verdict: 'partly', text: `mostly stayed: ${share} of the attention to it lay in its place, the rest spilled over.` };
  return { verdict: 'strayed', text: `may have strayed: only ${share} of the attention to it lay in its place. A larger place or another seed may hold it.` };
}

const inSteps = (run: Stretch): string => (run.from === run.to ? `step ${run.from + 1}` : `steps ${run.from + 1} to ${run.to + 1}`);
