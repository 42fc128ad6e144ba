// The form of a component's options, out of its schema alone: a stranger's plugin gets one, too.
import { useId, useState } from 'preact/hooks';
import { fields, readField, shownValue, type Field, type Json, type Schema } from '../model/schema';
import { problemsAt, unreadable } from '../store';
import { Notes } from './bits';

type Options = Readonly<Record<string, Json>>;
interface Props {
  schema: Schema;
  defaults: Options;
  options: Options;
  /** Where in the recipe these options are: "branches.1.options". */
  path: string;
  onChange: (options: Options) => void;
}

export function OptionsForm({ schema, defaults, options, path, onChange }: Props) {
  const list = fields(schema, defaults);
  const known = new Set(list.map((field) => field.name));
  // Of several options together, or of one that there is not.
  const whole = problemsAt(path).filter((one) => !known.has(String(one.at?.[path.split('.').length] ?? '')));
  if (!list.length)
    return (
      <>
        <p class="quiet">It has no options.</p>
        <Notes problems={whole} />
      </>
    );
  const set = (name: string, value: Json | undefined): void => {
    const { [name]: _old, ...rest } = options;
    onChange(value === undefined ? rest : { ...rest, [name]: value });
  };
  return (
    <div class="options">
      <Notes problems={whole} />
      {list.map((field) => (
        <OptionField
          key={field.name}
          field={field}
          value={options[field.name]}
          path={`${path}.${field.name}`}
          guarded={isGuarded(schema, field.name)}
          set={(value) => set(field.name, value)}
        />
      ))}
    </div>
  );
}

const isGuarded = (schema: Schema, name: string): boolean =>
  (schema.properties?.[name] as Record<string, unknown> | undefined)?.['x-guarded'] === true;

interface FieldProps {
  field: Field;
  value: Json | undefined;
  path: string;
  guarded: boolean;
  set: (value: Json | undefined) => void;
}

function OptionField({ field, value, path, guarded, set }: FieldProps) {
  const id = useId();
  const changed = value !== undefined && JSON.stringify(value) !== JSON.stringify(field.initial);
  const wrong = unreadable.value[path];
  const problems = problemsAt(path);
  const help = field.help + (guarded ? ' Only the user file of this machine turns it on.' : '');
  const described = [help ? `${id}-help` : '', wrong || problems.length ? `${id}-wrong` : ''].filter(Boolean).join(' ');
  const common = { id, disabled: guarded, 'aria-describedby': described || undefined, 'aria-invalid': Boolean(wrong) || problems.length > 0 };
  return (
    <div class={`option ${changed ? 'is-changed' : ''} is-${field.kind}`}>
      {field.kind !== 'choices' && <label for={id}>{field.label}</label>}
      <Control field={field} value={value} path={path} set={set} common={common} />
      {help && (
        <p class="help" id={`${id}-help`}>
          {help}
        </p>
      )}
      {(wrong || problems.length > 0) && (
        <div id={`${id}-wrong`}>
          {wrong && (
            <p class="notes" role="alert">
              {wrong}
            </p>
          )}
          <Notes problems={problems} />
        </div>
      )}
    </div>
  );
}

interface ControlProps extends Pick<FieldProps, 'field' | 'value' | 'path' | 'set'> {
  common: { id: string; disabled: boolean; 'aria-describedby': string | undefined; 'aria-invalid': boolean };
}

function Control({ field, value, path, set, common }: ControlProps) {
  const now = value === undefined ? field.initial : value;
  if (field.kind === 'flag')
    return <input type="checkbox" class="switch" {...common} checked={now === true} onChange={(event) => set(event.currentTarget.checked)} />;
  if (field.kind === 'choice')
    return (
      <select {...common} value={JSON.stringify(now ?? null)} onChange={(event) => set(JSON.parse(event.currentTarget.value) as Json)}>
        {field.optional && <option value="null">none</option>}
        {field.choices.map((choice) => (
          <option key={JSON.stringify(choice)} value={JSON.stringify(choice)}>
            {String(choice)}
          </option>
        ))}
      </select>
    );
  if (field.kind === 'choices') {
    const chosen = Array.isArray(now) ? (now as Json[]) : [];
    return (
      <fieldset disabled={common.disabled}>
        <legend>{field.label}</legend>
        {field.choices.map((choice) => (
          <label key={String(choice)} class="check">
            <input
              type="checkbox"
              checked={chosen.includes(choice)}
              onChange={(event) =>
                set(field.choices.filter((one) => (one === choice ? event.currentTarget.checked : chosen.includes(one))))
              }
            />
            {String(choice)}
          </label>
        ))}
      </fieldset>
    );
  }
  return <Typed field={field} value={value} path={path} set={set} common={common} />;
}

/** Text as it is typed; it becomes a value when it is one, and else says beside the field why not. */
export function Typed({ field, value, path, set, common }: ControlProps) {
  const [draft, setDraft] = useState<string | null>(null);
  const text = draft ?? shownValue(value);
  const take = (typed: string): void => {
    setDraft(typed);
    const read = readField(field, typed);
    const { [path]: _old, ...others } = unreadable.value;
    if ('wrong' in read) unreadable.value = { ...others, [path]: read.wrong };
    else {
      if (path in unreadable.value) unreadable.value = others;
      set(read.value);
    }
  };
  const done = (): void => {
    if (!(path in unreadable.value)) setDraft(null);
  };
  const shared = {
    ...common,
    value: text,
    placeholder: shownValue(field.initial) || (field.optional ? 'none' : ''),
    onBlur: done,
    spellcheck: false,
    autocomplete: 'off',
  };
  if (field.kind === 'json') return <textarea rows={text.length > 40 ? 4 : 1} {...shared} onInput={(event) => take(event.currentTarget.value)} />;
  return <input type="text" inputMode={field.kind === 'text' ? 'text' : 'decimal'} {...shared} onInput={(event) => take(event.currentTarget.value)} />;
}
