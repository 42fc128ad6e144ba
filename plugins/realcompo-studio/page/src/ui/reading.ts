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

/** The same at the last step up to `index` at which it was known. */
export function regionLoss(steps: readonly Step[], index: number, region: string): number | null {
  for (let k = steps.length - 1; k >= 0; k--) {
    const step = steps[k]!;
    if (step.index > index) continue;
    const loss = lossOf(step, region);
    if (loss !== null) return loss;
  }
  return null;
}

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

/** Why a thing stands where it does, and whether it stayed. */
export function whyThere(phrase: string, steps: readonly Step[], region: string, branches: readonly string[]): { text: string; verdict: 'held' | 'partly' | 'strayed' | 'unknown' } {
  const [fidelity = 'the picture model', ...spatial] = branches;
  const runs = stretches(steps);
  const planted = runs.find((one) => one.phase === 'spatial alone');
  const guided = runs.filter((one) => one.phase === 'fidelity guided' || one.phase === 'balanced').at(-1);
  const last = steps.at(-1)?.index ?? 0;
  const loss = regionLoss(steps, last, region);
  const parts: string[] = [];
  if (planted) parts.push(`${listed(spatial)} planted ${phrase} here in ${inSteps(planted)}`);
  if (guided)
    parts.push(
      guided.phase === 'balanced'
        ? `all models drew it together, weighed against each other in ${inSteps(guided)}`
        : `${fidelity} drew, nudged towards this place, in ${inSteps(guided)}`,
    );
  const free = runs.find((one) => one.phase === 'fidelity alone');
  if (free && parts.length) parts.push(`${fidelity} finished it in ${inSteps(free)}`);
  const told = parts.length ? `${parts.join(', then ')}.` : `${phrase} was drawn here.`;
  const text = planted ? told : told[0]!.toUpperCase() + told.slice(1);
  if (loss === null) return { text, verdict: 'unknown' };
  const share = Math.round((1 - loss) * 100);
  const verdict = loss <= 0.45 ? 'held' : loss <= 0.7 ? 'partly' : 'strayed';
  const said = {
    held: `When last looked at, ${share} % of the attention to it lay inside: it stayed.`,
    partly: `When last looked at, ${share} % of the attention to it lay inside, the rest spilled over.`,
    strayed: `When last looked at, only ${share} % of the attention to it lay inside: it strayed. A larger place or another seed may hold it.`,
  }[verdict];
  return { text: `${text} ${said}`, verdict };
}

const inSteps = (run: Stretch): string => (run.from === run.to ? `step ${run.from + 1}` : `steps ${run.from + 1} to ${run.to + 1}`);
