// Look inside: who draws at which step and point, where the attention to each thing lies, and what each model would draw alone.
import { askParents } from '../pictures';
import { exhibit, hovered, isBusy, panel, pinned, shownStep, view, type View } from '../store';
import { allRegionIds } from '../model/document';
import { doc, job } from '../store';
import { url, type FieldMap } from '../api';
import { percent, Section } from './bits';
import { GradientCurves, LossCurves, regionTone, Timeline } from './charts';
import { HeatMap, inside, useInside } from './heat';
import { explained, lossOf, stayed, story } from './reading';

export function Look() {
  useInside(panel.value === 'look');
  const found = exhibit.value;
  if (!found)
    return (
      <div class="empty">
        <h2>Look inside</h2>
        <p>Two kinds of model draw together here. One makes beautiful pictures but loses count of what stands where; the other keeps every thing in its place.</p>
        <p>Place what you want, press <strong>Draw</strong>, and see at every step and at every point which of them has the say, and why.</p>
        <ol class="beginning">
          <li>Say what to draw.</li>
          <li>Drag a place for each thing on the canvas, or let the planner do it.</li>
          <li>Draw.</li>
        </ol>
      </div>
    );
  if (!found.traced)
    return (
      <div class="empty">
        <h2>Look inside</h2>
        <p>This picture carries its recipe, but not its run. Draw it again, and its steps can be looked at.</p>
      </div>
    );
  return (
    <div class="look">
      <Steps />
      <Why />
      <Maps />
      <Section title="Attention outside its place">
        <LossCurves />
        <Legend />
      </Section>
      <Section title="Gradient">
        <GradientCurves />
      </Section>
      <Parents />
    </div>
  );
}

function Steps() {
  const found = exhibit.value!;
  const step = shownStep.value;
  const live = pinned.value === null && isBusy.value;
  return (
    <Section
      title="Who draws, step by step"
      aside={
        <span class="count">
          {step ? `step ${step.index + 1} of ${found.count}` : 'no step yet'}
          {!live && isBusy.value && (
            <button type="button" class="link" onClick={() => (pinned.value = null)}>
              follow
            </button>
          )}
        </span>
      }
    >
      <Timeline />
      <ul class="legend" aria-label="Models">
        {found.branches.map((name, k) => (
          <li key={name}>
            <i class={`branch-${Math.min(k, 3)}`} aria-hidden="true" />
            {name} {step && <b>{percent(step.weights[name] ?? 0)}</b>}
          </li>
        ))}
      </ul>
      <p class="sentence" aria-live="polite">
        {explained(step?.phase ?? job.value?.phase ?? null, found.branches, step === null || step.loss !== null)}
      </p>
    </Section>
  );
}

function Why() {
  const found = exhibit.value!;
  if (!found.picture || !found.regions.length || !found.steps.length) return null;
  const keys = keysOfRegions();
  return (
    <Section title="Why each thing stands where it does">
      <p class="story">{story(found.steps, found.branches)}</p>
      <ul class="why">
        {found.regions.map((region, order) => {
          const { text, verdict } = stayed(found.steps, region.id);
          return (
            <li
              key={region.id}
              class={`is-${verdict}`}
              style={{ '--tone': regionTone(region.id, order) }}
              onPointerEnter={() => (hovered.value = keys.get(region.id) ?? null)}
              onPointerLeave={() => (hovered.value = null)}
            >
              <strong>{region.phrase}</strong> {text}
            </li>
          );
        })}
      </ul>
    </Section>
  );
}

function keysOfRegions(): Map<string, string> {
  return new Map([...allRegionIds(doc.value)].map(([key, id]) => [id, key]));
}

function Maps() {
  const found = exhibit.value!;
  const maps = inside.value;
  const image = stepImage();
  if (!maps) return null;
  const readers = Object.entries(maps.attention).filter(([, regions]) => Object.keys(regions).length);
  const step = found.steps.find((one) => one.index === maps.index);
  return (
    <Section title="At each point">
      <p class="help">Dark: no say, no attention. Yellow: most. Press one to see it large.</p>
      <div class="tiles">
        <Tile name="The picture so far" of={{ kind: 'picture' }} image={image} />
        {found.branches.map((name) => {
          const map = maps.weights[name];
          return map ? <Tile key={name} name={`Weight of ${name}`} of={{ kind: 'weight', branch: name }} image={image} map={map} most={1} /> : null;
        })}
        {readers.map(([branch, regions]) =>
          found.regions.map((region, order) => {
            const map = regions[region.id];
            const loss = step?.losses?.[branch]?.[region.id] ?? lossOf(step, region.id);
            return map ? (
              <Tile
                key={`${branch} ${region.id}`}
                name={`${region.phrase}${readers.length > 1 ? `, ${branch}` : ''}`}
                note={typeof loss === 'number' ? `${percent(1 - loss)} inside` : ''}
                of={{ kind: 'attention', branch, region: region.id }}
                image={image}
                map={map}
                most={map.high}
                box={region.box}
                colour={regionTone(region.id, order)}
              />
            ) : null;
          }),
        )}
      </div>
      {!readers.length && <p class="quiet">At this step no attention was read. Move along the timeline to a step at which it was.</p>}
    </Section>
  );
}

/** Address of the picture at the step that is looked at. */
export function stepImage(): string | null {
  const found = exhibit.value;
  const step = shownStep.value;
  if (!found) return null;
  if (pinned.value !== null && step?.preview && found.base && step.index < found.count - 1) return `${found.base}/previews/${step.index}`;
  if (found.picture) return url.image(found.picture);
  if (found.image) return found.image;
  const last = found.steps.findLast((one) => one.preview && one.index <= (step?.index ?? 0));
  return last ? `${found.base}/previews/${last.index}` : null;
}

const sameView = (a: View, b: View): boolean => JSON.stringify(a) === JSON.stringify(b);

interface TileProps {
  name: string;
  of: View;
  image: string | null;
  map?: FieldMap;
  most?: number;
  note?: string;
  box?: readonly number[];
  colour?: string;
}

function Tile({ name, of, image, map, most = 1, note, box, colour }: TileProps) {
  const on = sameView(view.value, of);
  return (
    <button type="button" class={`tile ${on ? 'is-on' : ''}`} aria-pressed={on} onClick={() => (view.value = on ? { kind: 'picture' } : of)}>
      <span class="tile-picture">
        {image && <img src={image} alt="" />}
        {map && <HeatMap map={map} most={most} />}
        {box && <i class="tile-box" style={{ left: `${box[0]! * 100}%`, top: `${box[1]! * 100}%`, width: `${(box[2]! - box[0]!) * 100}%`, height: `${(box[3]! - box[1]!) * 100}%`, '--tone': colour }} />}
      </span>
      <span class="tile-name">
        {colour && <i class="dot" style={{ background: colour }} />}
        {name}
      </span>
      {note && <span class="tile-note">{note}</span>}
    </button>
  );
}

function Legend() {
  const found = exhibit.value!;
  const step = shownStep.value;
  const keys = keysOfRegions();
  return (
    <ul class="legend" aria-label="Things">
      {found.regions.map((region, order) => {
        const loss = lossOf(step ?? undefined, region.id);
        const key = keys.get(region.id) ?? null;
        return (
          <li key={region.id} class={key !== null && hovered.value === key ? 'is-on' : ''} onPointerEnter={() => (hovered.value = key)} onPointerLeave={() => (hovered.value = null)}>
            <i class="dot" style={{ background: regionTone(region.id, order) }} aria-hidden="true" />
            {region.id} <b>{loss === null ? '–' : percent(loss)}</b>
          </li>
        );
      })}
    </ul>
  );
}

function Parents() {
  const found = exhibit.value!;
  if (!found.picture) return null;
  const both = ['fidelity', 'spatial'].filter((which) => found.parents.includes(which));
  const [fidelity, ...spatial] = found.branches;
  return (
    <Section title="Each alone, from the same noise">
      {both.length > 0 ? (
        <div class="tiles is-three">
          <figure>
            <img src={url.image(found.picture)} alt="Both together" />
            <figcaption>together</figcaption>
          </figure>
          {both.map((which) => (
            <figure key={which}>
              <img src={url.parent(found.picture!, which)} alt={which === 'fidelity' ? `${fidelity ?? ''} alone` : `${spatial.join(', ')} alone`} />
              <figcaption>{which === 'fidelity' ? fidelity : spatial.join(', ')} alone</figcaption>
            </figure>
          ))}
        </div>
      ) : null}
      {both.length < 2 && (
        <button type="button" class="button is-soft is-wide" disabled={isBusy.value} onClick={() => void askParents()}>
          Draw with each model alone
        </button>
      )}
    </Section>
  );
}
