// Who draws: one fidelity branch, any number of spatial ones. What does not compose is grey and says why.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { BranchPart, Part } from '../api';
import type { BranchEntry, Component } from '../model/document';
import { chooseFidelity, toggleSpatial } from '../actions';
import { branchPart, components, doc, edit, obstacle, problemsAt, unreadable } from '../store';
import { taking } from '../shared';
import { sentence } from '../model/words';
import { Notes, Section } from './bits';
import { OptionsForm, Typed } from './form';

const TAKES: Record<string, string> = { boxes: 'boxes', keypoints: 'poses', segmentation: 'painted maps' };

export function Models() {
  const all = components.value?.branches ?? [];
  const fidelity = all.filter((one) => one.role !== 'spatial');
  const spatial = all.filter((one) => one.role !== 'fidelity');
  const chosen = doc.value.fidelity;
  const isChosen = (one: BranchPart): boolean => doc.value.spatial.some((entry) => entry.name === one.id);
  const kin = (one: BranchPart): boolean => one.id.split('/')[0] === chosen.name.split('/')[0];
  const known = components.value?.pairs !== null && components.value !== null;
  // Until the server has looked at all pairs, those of one family are taken to fit.
  const fits = spatial
    .filter((one) => isChosen(one) || (known ? !obstacle(chosen.name, one.id) : kin(one)))
    .sort((a, b) => Number(kin(b)) - Number(kin(a)));
  const others = spatial.filter((one) => !fits.includes(one));
  const part = branchPart(chosen.name);
  return (
    <Section title="Who draws it">
      <div class="field">
        <label for="fidelity">Picture model</label>
        <select id="fidelity" value={chosen.name} aria-describedby="fidelity-help" onChange={(event) => chooseFidelity(event.currentTarget.value)}>
          {!fidelity.length && <option value={chosen.name}>{chosen.name}</option>}
          {fidelity.map((one) => (
            <option key={one.id} value={one.id} disabled={one.problem !== null} title={one.problem?.text ?? one.summary}>
              {one.id}
              {one.problem ? ` — ${shorten(one.problem.what)}` : ''}
            </option>
          ))}
        </select>
        <p class="help" id="fidelity-help">
          {part?.summary ?? 'Looking at what is installed …'}
        </p>
        <Notes problems={problemsAt('branches.0').filter((one) => one.at?.[2] !== 'options' && one.at?.[2] !== 'guidance_scale')} />
        <BranchOptions entry={chosen} index={0} part={part} />
      </div>
      <fieldset class="field spatial">
        <legend>Layout models</legend>
        {fits.map((one) => (
          <Spatial key={one.id} part={one} />
        ))}
        {others.length > 0 && (
          <details class="more">
            <summary>
              {known ? `${others.length} more ${others.length === 1 ? 'does' : 'do'} not fit ${chosen.name}` : `${others.length} more are being looked at …`}
            </summary>
            {others.map((one) => (
              <Spatial key={one.id} part={one} />
            ))}
          </details>
        )}
      </fieldset>
    </Section>
  );
}

const shorten = (text: string): string => (text.length > 60 ? `${text.slice(0, 58)} …` : text);

function Spatial({ part }: { part: BranchPart }) {
  const index = doc.value.spatial.findIndex((one) => one.name === part.id);
  const entry = doc.value.spatial[index];
  const why = obstacle(doc.value.fidelity.name, part.id);
  // Its place in the recipe that is sent: branches that sit out are not in it.
  const place = taking(doc.value).findIndex((one) => one.name === part.id) + 1;
  const at = `branches.${place}`;
  const id = `spatial-${part.id.replace(/\W/gu, '-')}`;
  const problems = entry && place ? problemsAt(at).filter((one) => one.at?.[2] !== 'options' && one.at?.[2] !== 'guidance_scale') : [];
  return (
    <div class={`spatial-branch ${why && !entry ? 'is-off' : ''}`}>
      <label class="check" for={id}>
        <input id={id} type="checkbox" checked={entry !== undefined} disabled={why !== null && entry === undefined} aria-describedby={`${id}-help`} onChange={() => toggleSpatial(part.id)} />
        <span class="name">{part.id}</span>
        <span class="tag">{TAKES[part.condition ?? ''] ?? 'any'}</span>
      </label>
      <p class="help" id={`${id}-help`}>
        {why ? sentence(why.what) : part.summary}
        {entry && !place && ' It sits out until something is placed on its canvas.'}
      </p>
      <Notes problems={problems} />
      {entry && <BranchOptions entry={entry} index={place || index + 1} part={part} />}
    </div>
  );
}

function BranchOptions({ entry, index, part }: { entry: BranchEntry; index: number; part: BranchPart | null }) {
  if (!part) return null;
  const change = (more: Partial<BranchEntry>, tag: string): void =>
    edit((before) => {
      const swap = (one: BranchEntry): BranchEntry => {
        if (one.name !== entry.name) return one;
        const next = { ...one, ...more };
        return next.guidance_scale === undefined ? (({ guidance_scale: _, ...rest }) => rest as BranchEntry)(next) : next;
      };
      return { ...before, fidelity: index === 0 ? swap(before.fidelity) : before.fidelity, spatial: index === 0 ? before.spatial : before.spatial.map(swap) };
    }, `options ${entry.name} ${tag}`);
  const wrong = problemsAt(`branches.${index}.options`, `branches.${index}.guidance_scale`).length > 0;
  const path = `branches.${index}`;
  const id = `guidance-${index}`;
  return (
    <Options of={entry.name} wrong={wrong}>
      <div class="option">
        <label for={id}>guidance scale</label>
        <Typed
          field={{ name: 'guidance_scale', label: 'guidance scale', help: '', kind: 'real', optional: false, initial: part.guidance_scale ?? undefined, choices: [], low: 0 }}
          value={entry.guidance_scale}
          path={`${path}.guidance_scale`}
          set={(value) => change({ guidance_scale: value as number | undefined } as Partial<BranchEntry>, 'guidance')}
          common={{ id, disabled: false, 'aria-describedby': `${id}-help`, 'aria-invalid': problemsAt(`${path}.guidance_scale`).length > 0 }}
        />
        <p class="help" id={`${id}-help`}>
          How strictly this model follows the words; 1 or less is not at all.
        </p>
        <Unreadable path={`${path}.guidance_scale`} />
        <Notes problems={problemsAt(`${path}.guidance_scale`)} />
      </div>
      <OptionsForm schema={part.schema} defaults={part.defaults} options={entry.options} path={`${path}.options`} onChange={(options) => change({ options }, 'form')} />
    </Options>
  );
}

/** Folded away; it opens by itself for an error, and stays open when that is mended. */
function Options({ of, wrong, children }: { of: string; wrong: boolean; children: ComponentChildren }) {
  const [open, setOpen] = useState(false);
  useEffect(() => {
    if (wrong) setOpen(true);
  }, [wrong]);
  return (
    <details class="more" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        Options<span class="visually-hidden"> of {of}</span>
      </summary>
      {open && children}
    </details>
  );
}

export function ComponentOptions({ part, chosen, path, onChange }: { part: Part | undefined; chosen: Component; path: string; onChange: (options: Component['options']) => void }) {
  if (!part) return null;
  const wrong = problemsAt(`${path}.options`).length > 0;
  return (
    <Options of={chosen.name} wrong={wrong}>
      <OptionsForm schema={part.schema} defaults={part.defaults} options={chosen.options} path={`${path}.options`} onChange={onChange} />
    </Options>
  );
}

export function Unreadable({ path }: { path: string }) {
  const wrong = unreadable.value[path];
  return wrong ? (
    <p class="notes" role="alert">
      {wrong}
    </p>
  ) : null;
}
