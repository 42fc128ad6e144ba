// The question for a thing's words, beside the thing itself.
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { remove, rename } from '../actions';
import type { Thing } from '../model/document';
import type { Box } from '../model/geometry';
import { suggestions } from '../model/words';
import { doc, fidelityPart, naming, things } from '../store';

export function Naming({ thing, box, person = false }: { thing: Thing; box: Box; person?: boolean }) {
  const field = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(thing.phrase);
  // Before anything else is typed: an effect after painting would let the first letters go to the canvas.
  useLayoutEffect(() => {
    field.current?.focus({ preventScroll: true });
    field.current?.select();
  }, []);
  const open = suggestions(doc.value.prompt, things.value.map((one) => ({ id: one.key, phrase: one.phrase }))).slice(0, 5);
  const words = open.length ? open : nouns(person);
  const take = (phrase: string): void => {
    if (phrase.trim()) rename(thing.key, phrase);
    naming.value = null;
  };
  const below = box[3] < 0.72;
  const style = {
    // Never past the picture's right edge, however narrow it is: 270 pixels are the most that the form takes.
    left: `max(0px, min(${Math.min(Math.max(0, box[0]), 0.5) * 100}%, 100% - 270px))`,
    ...(below ? { top: `calc(${box[3] * 100}% + 8px)` } : { bottom: `calc(${(1 - Math.max(box[1], 0.28)) * 100}% + 8px)` }),
  };
  return (
    <form
      class="naming"
      style={style}
      onSubmit={(event) => {
        event.preventDefault();
        take(text);
      }}
    >
      <label for="naming">{person ? 'Who is this?' : 'What is here?'}</label>
      <div class="row">
        <input
          id="naming"
          ref={field}
          value={text}
          placeholder={person ? 'a person' : 'a cat'}
          autocomplete="off"
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            event.stopPropagation();
            if (event.key !== 'Escape') return;
            if (thing.phrase) naming.value = null;
            else remove(thing.key);
          }}
        />
        <button type="submit" class="button is-main">
          OK
        </button>
      </div>
      {words.length > 0 && (
        <div class="chips">
          {words.map((word) => (
            <button type="button" class="chip-button" key={word} onClick={() => take(word)}>
              {word}
            </button>
          ))}
        </div>
      )}
    </form>
  );
}

const THINGS = ['a cat', 'a dog', 'a red car', 'a house', 'a tree', 'a blue balloon', 'a star'];
const PEOPLE = ['a person', 'a red person', 'a blue person', 'a green person'];

/** A few that a small model knows, for who has said nothing yet. */
function nouns(person: boolean): string[] {
  const known = new Set(fidelityPart.value?.vocabulary ?? []);
  const taken = new Set(things.value.map((one) => one.phrase));
  return (person ? PEOPLE : THINGS).filter((phrase) => phrase.split(' ').every((word) => known.has(word)) && !taken.has(phrase)).slice(0, 5);
}
