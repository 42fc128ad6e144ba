// The list of everything that is placed: names, locks, and how well each was kept in the run that is looked at.
import { useState } from 'preact/hooks';
import { changeThing, classColour, duplicate, findThing, remove, rename, renameSegment, showJoints } from '../actions';
import { tone } from '../model/colours';
import { allRegionIds, thingsOf, type Person, type Segment, type Thing } from '../model/document';
import { canvas, doc, exhibit, hovered, kinds, naming, problemsAt, selected, shownStep, tones } from '../store';
import type { ConditionKind } from '../model/document';
import { IconButton, Notes, percent, Section } from './bits';
import { regionLoss } from './reading';

const NOUN: Record<ConditionKind, string> = { boxes: 'box', keypoints: 'person', segmentation: 'segment' };

export function Things() {
  const all = kinds.value.flatMap((kind) => thingsOf(doc.value, kind).map((thing, index) => ({ kind, thing, index })));
  const whole = problemsAt('pictures.0.conditions').filter((one) => (one.at?.length ?? 0) < 6);
  return (
    <Section title="What stands where" aside={<span class="count">{all.length || ''}</span>}>
      {all.length === 0 && (
        <p class="quiet">Nothing is placed yet. Drag on the canvas, press a word above, or let the planner place everything.</p>
      )}
      <ul class="things">
        {all.map(({ kind, thing, index }) => (
          <Row key={thing.key} kind={kind} thing={thing} index={index} />
        ))}
      </ul>
      <Notes problems={whole} />
    </Section>
  );
}

function Row({ kind, thing, index }: { kind: ConditionKind; thing: Thing; index: number }) {
  const [draft, setDraft] = useState<string | null>(null);
  const tint = tone(tones.value.byKey.get(thing.key) ?? 0);
  const segment = kind === 'segmentation' ? (thing as Segment) : null;
  const region = allRegionIds(doc.value).get(thing.key);
  const loss = region !== undefined && exhibit.value && shownStep.value ? regionLoss(exhibit.value.steps, shownStep.value.index, region) : null;
  const at = `pictures.0.conditions.${kind}`;
  const place = segment?.backdrop ? 'backdrop' : 'items';
  const problems = naming.value === thing.key ? [] : problemsAt(`${at}.${place}.${orderIn(thing, index)}`);
  const id = `words-${thing.key}`;
  const take = (): void => {
    if (draft !== null && draft.trim() !== thing.phrase) (segment ? renameSegment : rename)(thing.key, draft);
    setDraft(null);
  };
  const hidden = kind === 'keypoints' ? Object.keys((thing as Person).hidden).length : 0;
  return (
    <li
      class={`thing ${selected.value === thing.key ? 'is-selected' : ''} ${hovered.value === thing.key ? 'is-hovered' : ''}`}
      style={{ '--strong': tint.strong, '--bright': tint.bright }}
      onPointerEnter={() => (hovered.value = thing.key)}
      onPointerLeave={() => (hovered.value = null)}
    >
      <span class="dot" style={segment ? { background: classColour(segment.label) } : undefined} aria-hidden="true" />
      <label class="visually-hidden" for={id}>
        Words of {NOUN[kind]} {index + 1}
        {segment ? `, painted as ${segment.label}` : ''}
      </label>
      <input
        id={id}
        type="text"
        value={draft ?? thing.phrase}
        placeholder={segment ? `${segment.label} (backdrop, no words)` : 'its words in the prompt'}
        aria-invalid={problems.length > 0}
        aria-describedby={problems.length ? `${id}-wrong` : undefined}
        autocomplete="off"
        onInput={(event) => setDraft(event.currentTarget.value)}
        onFocus={() => {
          selected.value = thing.key;
          canvas.value = kind;
        }}
        onBlur={take}
        onKeyDown={(event) => {
          if (event.key === 'Enter') event.currentTarget.blur();
          if (event.key === 'Escape') setDraft(null);
        }}
      />
      {loss !== null && (
        <span class="held" title={`At step ${shownStep.value!.index + 1}, ${percent(1 - loss)} of the attention to these words lies in their place`}>
          {percent(1 - loss)}
          <span class="visually-hidden"> of the attention to it lies in its place</span>
        </span>
      )}
      {hidden > 0 && (
        <IconButton icon="eye" label={`Show ${hidden} hidden joint${hidden > 1 ? 's' : ''} of ${thing.phrase || 'this person'}`} onClick={() => showJoints(thing.key)} />
      )}
      <IconButton
        icon={thing.locked ? 'lock' : 'unlock'}
        label={thing.locked ? `Let the planner move ${thing.phrase || 'it'}` : `Keep ${thing.phrase || 'it'} where it is when planning`}
        pressed={thing.locked ?? false}
        class={thing.locked ? 'is-on' : 'is-shy'}
        onClick={() => changeThing(thing.key, { locked: !thing.locked })}
      />
      {kind !== 'segmentation' && (
        <IconButton icon="copy" label={`Duplicate ${thing.phrase || 'it'}`} class="is-shy" onClick={() => duplicate(thing.key)} />
      )}
      <IconButton icon="trash" label={`Delete ${thing.phrase || 'it'}`} class="is-shy" onClick={() => remove(thing.key)} />
      {problems.length > 0 && (
        <div class="thing-wrong">
          <Notes problems={problems} id={`${id}-wrong`} />
        </div>
      )}
    </li>
  );
}

/** Where a thing stands in the list that the recipe has: segments with words and without are two lists there. */
function orderIn(thing: Thing, index: number): number {
  if (findThing(thing.key)?.kind !== 'segmentation') return index;
  const backdrop = (thing as Segment).backdrop;
  return doc.value.segments.items.filter((one) => one.backdrop === backdrop).findIndex((one) => one.key === thing.key);
}
