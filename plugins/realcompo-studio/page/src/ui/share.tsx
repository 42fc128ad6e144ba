// The recipe to take along: as a file, as Python, as a command line; the picture with its recipe inside.
import { useEffect, useState } from 'preact/hooks';
import { api, Refused, url, type RecipeForm } from '../api';
import { recipe } from '../shared';
import { doc, exhibit, said } from '../store';
import { Section } from './bits';
import { Icon } from './icons';

const FORMS: readonly (readonly [RecipeForm, string])[] = [
  ['toml', 'TOML'],
  ['python', 'Python'],
  ['command', 'Command line'],
];

export function Share() {
  const [form, setForm] = useState<RecipeForm>('toml');
  const [text, setText] = useState('');
  const [copied, setCopied] = useState(false);
  const picture = exhibit.value?.picture ?? null;
  useEffect(() => {
    setCopied(false);
    let dropped = false;
    const timer = setTimeout(() => {
      (picture ? api.recipeOf(picture, form) : api.recipeText(recipe(), form))
        .then((found) => !dropped && setText(found.text))
        .catch((error: unknown) => !dropped && setText(error instanceof Refused ? error.problems.map((one) => one.text).join('\n') : ''));
    }, 150);
    return () => {
      dropped = true;
      clearTimeout(timer);
    };
  }, [picture, form, picture ? null : doc.value]);
  return (
    <Section title={picture ? 'Recipe of this picture' : 'Recipe of what is on the page'}>
      <div class="segmented" role="group" aria-label="Form of the recipe">
        {FORMS.map(([name, label]) => (
          <button key={name} type="button" aria-pressed={form === name} onClick={() => setForm(name)}>
            {label}
          </button>
        ))}
      </div>
      <pre class="recipe" tabIndex={0} role="region" aria-label="Recipe" data-testid="recipe">
        {text}
      </pre>
      <div class="row is-wrapping">
        <button
          type="button"
          class="button is-main"
          onClick={() =>
            void copy(text).then(() => {
              setCopied(true);
              said.value = 'Copied';
            })
          }
        >
          <Icon name={copied ? 'check' : 'copy'} /> {copied ? 'Copied' : 'Copy'}
        </button>
        {picture && (
          <>
            <a class="button" href={url.download(picture)} download={picture}>
              <Icon name="download" /> PNG
            </a>
            <a class="button" href={url.recipe(picture, 'toml')} download>
              <Icon name="download" /> Recipe
            </a>
          </>
        )}
      </div>
      <p class="help">The PNG holds its recipe: drop it on this page, or give it to <code>realcompo reproduce</code>, and the same pixels come back.</p>
    </Section>
  );
}

async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement('textarea');
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
  }
}
