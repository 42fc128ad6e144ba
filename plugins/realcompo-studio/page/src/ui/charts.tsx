// Curves over the steps of a run: who has the say, the loss of each region, gradients. Drawn as SVG, told in words beside.
import type { Step } from '../api';
import { tone } from '../model/colours';
import { tintOf } from '../actions';
import { allRegionIds } from '../model/document';
import { doc, exhibit, hovered, pinned, shownStep } from '../store';
import { lossOf, PHASES, stretches } from './reading';

const W = 340;
const PAD = 4;

const x = (index: number, count: number): number => PAD + ((index + 0.5) / Math.max(1, count)) * (W - 2 * PAD);
const edge = (index: number, count: number): number => PAD + (index / Math.max(1, count)) * (W - 2 * PAD);

/** Who draws, step by step: mean weights of the branches, stacked; the phases named below. */
export function Timeline() {
  const found = exhibit.value!;
  const H = 56;
  const { steps, count, branches } = found;
  const at = shownStep.value;
  const width = (W - 2 * PAD) / Math.max(1, count);
  return (
    <div class="timeline">
      <svg viewBox={`0 0 ${W} ${H}`} preserveAspectRatio="none" shape-rendering="crispEdges" aria-hidden="true">
        <rect class="ground" x={PAD} y="0" width={W - 2 * PAD} height={H} rx="4" />
        {steps.map((step) => {
          let top = 0;
          return branches.map((name, k) => {
            const share = step.weights[name] ?? 0;
            const y = top;
            top += share;
            return share > 0 ? (
              <rect key={`${step.index}-${name}`} class={`branch-${Math.min(k, 3)}`} x={edge(step.index, count)} y={y * H} width={width + 0.4} height={share * H} />
            ) : null;
          });
        })}
        {at && <rect class="cursor" x={edge(at.index, count)} y="0.75" width={width} height={H - 1.5} />}
      </svg>
      <input
        type="range"
        min="0"
        max={Math.max(0, count - 1)}
        value={at?.index ?? 0}
        aria-label="Step"
        aria-valuetext={at ? `Step ${at.index + 1} of ${count}, ${at.phase}` : 'No step yet'}
        disabled={!steps.length}
        onInput={(event) => {
          const wanted = Number(event.currentTarget.value);
          const nearest = steps.reduce((best, step) => (Math.abs(step.index - wanted) < Math.abs(best - wanted) ? step.index : best), steps[0]?.index ?? 0);
          pinned.value = nearest;
        }}
      />
      <div class="phases" aria-hidden="true">
        {stretches(steps).map((run) => (
          <span key={run.from} class={at && at.index >= run.from && at.index <= run.to ? 'is-now' : ''} style={{ left: `${(edge(run.from, count) / W) * 100}%`, width: `${((edge(run.to + 1, count) - edge(run.from, count)) / W) * 100}%` }}>
            {run.to - run.from + 1 >= count / 8 || (at && at.index >= run.from && at.index <= run.to) ? (PHASES[run.phase] ?? run.phase) : ''}
          </span>
        ))}
      </div>
    </div>
  );
}

export interface Curve {
  readonly name: string;
  readonly colour: string;
  readonly points: readonly (readonly [number, number])[];
  readonly strong?: boolean;
  readonly dim?: boolean;
  readonly dash?: string;
}

function Curves({ curves, count, low, high, label, height = 92 }: { curves: readonly Curve[]; count: number; low: number; high: number; label: string; height?: number }) {
  const at = shownStep.value?.index;
  const y = (value: number): number => 6 + (1 - (value - low) / Math.max(1e-12, high - low)) * (height - 12);
  return (
    <svg class="curves" viewBox={`0 0 ${W} ${height}`} role="img" aria-label={label}>
      {[0, 0.5, 1].map((share) => (
        <line key={share} class="grid" x1={PAD} x2={W - PAD} y1={y(low + share * (high - low))} y2={y(low + share * (high - low))} />
      ))}
      {at !== undefined && <line class="now" x1={x(at, count)} x2={x(at, count)} y1="0" y2={height} />}
      {curves.map((curve) => (
        <g key={curve.name} style={{ color: curve.colour }} class={`${curve.strong ? 'is-strong' : ''} ${curve.dim ? 'is-dim' : ''}`}>
          <polyline points={curve.points.map(([index, value]) => `${x(index, count)},${y(value)}`).join(' ')} stroke-dasharray={curve.dash} />
          {curve.points.map(([index, value]) => (index === at || curve.points.length === 1 ? <circle key={index} cx={x(index, count)} cy={y(value)} r="3.2" /> : null))}
        </g>
      ))}
      <text x={PAD + 2} y="13">{format(high)}</text>
      <text x={PAD + 2} y={height - 4}>{format(low)}</text>
    </svg>
  );
}

const format = (value: number): string => (value === 0 ? '0' : Math.abs(value) >= 0.01 && Math.abs(value) < 1000 ? String(Math.round(value * 100) / 100) : value.toExponential(0));

export function regionTone(id: string, order: number): string {
  const key = [...allRegionIds(doc.value)].find(([, region]) => region === id)?.[0];
  const tint = key === undefined ? tone(order) : tintOf(key);
  return `light-dark(${tint.strong}, ${tint.bright})`;
}

/** Loss: the share of the attention to a region's words that lies elsewhere. */
export function LossCurves() {
  const { steps, regions, count } = exhibit.value!;
  const over = hovered.value ? allRegionIds(doc.value).get(hovered.value) : undefined;
  const curves: Curve[] = regions.map((region, order) => ({
    name: region.id,
    colour: regionTone(region.id, order),
    points: along(steps, (step) => lossOf(step, region.id)),
    strong: region.id === over,
    dim: over !== undefined && region.id !== over,
  }));
  if (!curves.some((curve) => curve.points.length)) return <p class="quiet">No attention was read in this run: its balancer had no need of it.</p>;
  const told = curves.filter((curve) => curve.points.length).map((curve) => `${curve.name}: from ${Math.round(curve.points[0]![1] * 100)} % to ${Math.round(curve.points.at(-1)![1] * 100)} %`);
  return <Curves curves={curves} count={count} low={0} high={1} label={`Attention outside its place. ${told.join('; ')}`} />;
}

const BRANCH = ['var(--branch-0)', 'var(--branch-1)', 'var(--branch-2)', 'var(--branch-3)'];

export function GradientCurves() {
  const { steps, branches, count } = exhibit.value!;
  const curves: Curve[] = branches.map((name, k) => ({
    name,
    colour: BRANCH[Math.min(k, 3)]!,
    points: along(steps, (step) => step.gradients?.[name] ?? null),
    ...(k ? { dash: '4 3' } : {}),
  }));
  const all = curves.flatMap((curve) => curve.points.map(([, value]) => value));
  if (!all.length) {
    const moves = steps.reduce((sum, step) => sum + Object.values(step.moves ?? {}).reduce((a, b) => a + b, 0), 0);
    return (
      <p class="quiet">
        {moves
          ? `No weights were learnt in this run. Its balancer spent the gradient on the picture itself: ${moves} small moves.`
          : 'No gradient was taken in this run.'}
      </p>
    );
  }
  return <Curves curves={curves} count={count} low={0} high={Math.max(...all)} label={`Size of the loss's gradient, at most ${format(Math.max(...all))}`} height={72} />;
}

function along(steps: readonly Step[], read: (step: Step) => number | null): [number, number][] {
  return steps.flatMap((step) => {
    const value = read(step);
    return value === null || !Number.isFinite(value) ? [] : [[step.index, value] as [number, number]];
  });
}
