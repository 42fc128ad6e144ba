// The prompt with its regions' words underlined, and planning.
import { useRef, useState } from 'preact/hooks';
import { pieces, sentence, suggestions, type Piece } from '../model/words';
import { tryExample } from '../pictures';
import { plan } from '../session';
import { addBoxSomewhere, addToPrompt, tintOf } from '../actions';
import {
  canvas, checked, components, doc, edit, fidelityPart, hovered, kinds, matchedPrompt, matches, notice, planning, problemsAt, selected, settle, state, things,
} from '../store';
import { Notes, Section } from './bits';
import { Icon } from './icons';
import { ComponentOptions } from './models';

export function Words() {
  return (
    <Section title="What to draw">
      <Prompt />
      <Suggestions />
      <Plan />
    </Section>
  );
}

/** Pieces by the server's finding, where it is of this very prompt; else by whole words. */
function promptPieces(): Piece[] {
  const prompt = doc.value.prompt;
  if (matchedPrompt.value !== prompt) return pieces(prompt, things.value.map((thing) => ({ id: thing.key, phrase: thing.phrase })));
  const spans = new Map<string, { from: number; to: number; ids: string[] }>();
  for (const thing of things.value) {
    const span = matches.value[thing.key]?.span;
    if (!span) continue;
    const key = span.join('-');
    const known = spans.get(key);
    if (known) known.ids.push(thing.key);
    else spans.set(key, { from: span[0], to: span[1], ids: [thing.key] });
  }
  const found: Piece[] = [];
  let at = 0;
  for (const { from, to, ids } of [...spans.values()].sort((a, b) => a.from - b.from)) {
    if (from < at) continue;
    if (from > at) found.push({ text: prompt.slice(at, from), ids: [] });
    found.push({ text: prompt.slice(from, to), ids });
    at = to;
  }
  found.push({ text: prompt.slice(at), ids: [] });
  return found;
}

function Prompt() {
  const mirror = useRef<HTMLDivElement>(null);
  const problems = problemsAt('pictures.0.prompt');
  const loose = things.value.filter((thing) => thing.phrase && matchedPrompt.value === doc.value.prompt && matches.value[thing.key]?.problem);
  return (
    <div class="field">
      <label for="prompt" class="visually-hidden">
        Prompt
      </label>
      <div class={`prompt ${problems.length ? 'is-wrong' : ''}`}>
        <div class="prompt-mirror" aria-hidden="true" ref={mirror}>
          {promptPieces().map((piece, k) => {
            if (!piece.ids.length) return <span key={k}>{piece.text}</span>;
            const tint = tintOf(piece.ids[0]!);
            const on = piece.ids.some((key) => key === hovered.value || key === selected.value);
            return (
              <mark key={k} class={on ? 'is-on' : ''} style={{ '--strong': tint.strong, '--bright': tint.bright }}>
                {piece.text}
              </mark>
            );
          })}
          {'\u200b'}
        </div>
        <textarea
          id="prompt"
          rows={3}
          value={doc.value.prompt}
          placeholder="a cat and a red balloon on grass"
          aria-invalid={problems.length > 0}
          aria-describedby={problems.length ? 'prompt-wrong' : undefined}
          onInput={(event) => {
            const prompt = event.currentTarget.value;
            edit((before) => ({ ...before, prompt }), 'prompt');
          }}
          onBlur={settle}
          onScroll={(event) => {
            if (mirror.current) mirror.current.scrollTop = event.currentTarget.scrollTop;
          }}
        />
      </div>
      <Notes problems={problems} id="prompt-wrong" />
      {loose.map((thing) => (
        <p class="hint-line" key={thing.key}>
          The prompt does not say “{thing.phrase}”.{' '}
          <button type="button" class="link" onClick={() => addToPrompt(thing.phrase)}>
            Add it
          </button>
        </p>
      ))}
      {checked.value?.remarks.map((text) => (
        <p class="hint-line" key={text}>
          {sentence(text)}
        </p>
      ))}
      <Vocabulary />
    </div>
  );
}

/** A small model's few words: a newcomer should not have to guess them. */
function Vocabulary() {
  const words = fidelityPart.value?.vocabulary;
  if (!words?.length) return null;
  return (
    <details class="vocabulary">
      <summary>Words that {doc.value.fidelity.name} knows</summary>
      <p>{words.filter((word) => /^\w+$/u.test(word)).join(' · ')}</p>
    </details>
  );
}

/** Things that the prompt names and no region holds: one press places each. */
function Suggestions() {
  const open = suggestions(doc.value.prompt, things.value.map((thing) => ({ id: thing.key, phrase: thing.phrase }))).slice(0, 6);
  const sample = state.value?.sample;
  if (!doc.value.prompt.trim() && !things.value.length && sample)
    return (
      <button type="button" class="button is-soft is-wide" onClick={tryExample}>
        <Icon name="sparkle" /> Begin with an example
      </button>
    );
  if (!open.length || canvas.value !== 'boxes' || !kinds.value.includes('boxes')) return null;
  return (
    <div class="chips" role="group" aria-label="Not placed yet">
      {open.map((phrase) => (
        <button type="button" class="chip-button" key={phrase} onClick={() => addBoxSomewhere(phrase)}>
          <Icon name="plus" /> {phrase}
        </button>
      ))}
    </div>
  );
}

function Plan() {
  const [wish, setWish] = useState('');
  const planners = components.value?.planners ?? [];
  const chosen = doc.value.planner?.name ?? planners[0]?.id ?? '';
  const part = planners.find((one) => one.id === chosen);
  const problems = problemsAt('plan', 'planner', 'wish', 'locked').filter((one) => one.at?.[1] !== 'options');
  const placed = things.value.length > 0;
  const revises = part ? part.revises !== false : true;
  return (
    <div class="plan">
      <div class="row">
        <button type="button" class="button is-soft" disabled={planning.value || !doc.value.prompt.trim()} onClick={() => void plan('')}>
          <Icon name="sparkle" /> {planning.value ? 'Planning …' : placed ? 'Plan anew' : 'Plan the layout'}
        </button>
        <label class="visually-hidden" for="planner">
          Planner
        </label>
        <select
          id="planner"
          class="is-small"
          value={chosen}
          onChange={(event) => {
            const name = event.currentTarget.value;
            edit((before) => ({ ...before, planner: { name, options: {} } }));
          }}
        >
          {!planners.length && <option value={chosen}>{chosen}</option>}
          {planners.map((one) => (
            <option key={one.id} value={one.id}>
              {one.id}
            </option>
          ))}
        </select>
      </div>
      {part && Object.keys(part.schema.properties ?? {}).length > 0 && (
        <ComponentOptions
          part={part}
          chosen={doc.value.planner ?? { name: chosen, options: {} }}
          path="planner"
          onChange={(options) => edit((before) => ({ ...before, planner: { ...(before.planner ?? {}), name: chosen, options } }), 'planner')}
        />
      )}
      {placed && (
        <form
          class="row"
          onSubmit={(event) => {
            event.preventDefault();
            if (wish.trim()) void plan(wish.trim()).then((done) => done && setWish(''));
          }}
        >
          <label class="visually-hidden" for="wish">
            Change the layout in words
          </label>
          <input
            id="wish"
            type="text"
            value={wish}
            placeholder={revises ? `move ${withThe(things.value.find((thing) => thing.phrase)?.phrase)} left` : `${chosen} does not revise`}
            disabled={!revises}
            aria-invalid={problems.length > 0}
            aria-describedby={problems.length ? 'plan-wrong' : undefined}
            onInput={(event) => setWish(event.currentTarget.value)}
          />
          <button type="submit" class="button" disabled={!wish.trim() || planning.value || !revises}>
            Change
          </button>
        </form>
      )}
      <Notes problems={problems} id="plan-wrong" />
      {notice.value?.tone === 'wrong' && (
        <p class="notes" role="alert">
          {notice.value.text}
        </p>
      )}
    </div>
  );
}

const withThe = (phrase: string | undefined): string => (phrase ? phrase.replace(/^(?:an?|one)\s+/iu, 'the ') : 'the dog');
