// Numbers of the picture, what it shall not show, and who weighs.
import type { Json } from '../model/schema';
import type { Document } from '../model/document';
import { components, doc, edit, fidelityPart, job, problemsAt, state } from '../store';
import { sizeStep } from '../actions';
import { sentence } from '../model/words';
import { IconButton, Notes, Section } from './bits';
import { Typed } from './form';
import { ComponentOptions, Unreadable } from './models';

type NumberKey = 'seed' | 'steps' | 'height' | 'width';

function NumberField({ name, label, path, usual, help, children }: { name: NumberKey; label: string; path: string; usual: Json | undefined; help?: string; children?: preact.ComponentChildren }) {
  const problems = problemsAt(path);
  const id = `field-${name}`;
  return (
    <div class="field number">
      <label for={id}>{label}</label>
      <div class="row">
        <Typed
          field={{ name, label, help: '', kind: 'whole', optional: false, initial: usual, choices: [] }}
          value={doc.value[name] ?? undefined}
          path={path}
          set={(value) => edit((before): Document => ({ ...before, [name]: value ?? null }), `number ${name}`)}
          common={{ id, disabled: false, 'aria-describedby': `${id}-note`, 'aria-invalid': problems.length > 0 }}
        />
        {children}
      </div>
      <div id={`${id}-note`}>
        {help && <p class="help">{help}</p>}
        <Unreadable path={path} />
        <Notes problems={problems} />
      </div>
    </div>
  );
}

export function Settings() {
  const part = fidelityPart.value;
  const balancers = components.value?.balancers ?? [];
  const usual = (state.value?.recipe['balancer'] as { name?: string } | undefined)?.name ?? 'core/guided';
  const balancer = doc.value.balancer ?? { name: usual, options: {} };
  const found = balancers.find((one) => one.id === balancer.name);
  return (
    <Section title="How">
      <div class="numbers">
        <NumberField name="seed" label="Seed" path="pictures.0.seed" usual="a new one">
          <IconButton
            icon="dice"
            label="Another seed"
            onClick={() => edit((before) => ({ ...before, seed: Math.floor(Math.random() * 100000) }))}
          />
        </NumberField>
        <NumberField name="steps" label="Steps" path="num_inference_steps" usual={part?.steps ?? (state.value?.recipe['num_inference_steps'] as Json) ?? 50} />
        <NumberField name="width" label="Width" path="width" usual={part?.size?.[1] ?? undefined} />
        <NumberField name="height" label="Height" path="height" usual={part?.size?.[0] ?? undefined} />
      </div>
      <DrawnSeed />
      <p class="help">Sides are multiples of {sizeStep()} pixels. An empty field takes what suits the model.</p>
      <div class="field">
        <label for="negative">Not in the picture</label>
        <input
          id="negative"
          type="text"
          value={doc.value.negative}
          placeholder="nothing to avoid"
          aria-invalid={problemsAt('pictures.0.negative_prompt').length > 0}
          onInput={(event) => {
            const negative = event.currentTarget.value;
            edit((before) => ({ ...before, negative }), 'negative');
          }}
        />
        <Notes problems={problemsAt('pictures.0.negative_prompt')} />
      </div>
      <div class="field">
        <label for="balancer">Who has the say at each point</label>
        <select
          id="balancer"
          value={balancer.name}
          onChange={(event) => {
            const name = event.currentTarget.value;
            edit((before) => ({ ...before, balancer: { name, options: {} } }));
          }}
        >
          {!balancers.length && <option value={balancer.name}>{balancer.name}</option>}
          {balancers.map((one) => {
            const why = components.value?.balances?.[one.id] ?? null;
            return (
              <option key={one.id} value={one.id} disabled={why !== null} title={why?.text ?? one.summary}>
                {one.id}
                {why ? ` — ${why.what}` : ''}
              </option>
            );
          })}
        </select>
        {found && <p class="help">{sentence(found.summary)}</p>}
        <Notes problems={problemsAt('balancer').filter((one) => one.at?.[1] !== 'options')} />
        <ComponentOptions part={found} chosen={balancer} path="balancer" onChange={(options) => edit((before) => ({ ...before, balancer: { ...balancer, options } }), 'balancer')} />
      </div>
      <Scheduler />
    </Section>
  );
}

/** The seed that the server made for a run, to keep where the picture pleased. */
function DrawnSeed() {
  const seed = job.value?.seed ?? null;
  if (doc.value.seed !== null || seed === null) return null;
  return (
    <p class="help">
      Last drawn with seed {seed}.{' '}
      <button type="button" class="link" onClick={() => edit((before) => ({ ...before, seed }))}>
        Keep it
      </button>
    </p>
  );
}

function Scheduler() {
  const list = components.value?.schedulers ?? [];
  const now = (doc.value.rest['scheduler'] as string | undefined) ?? 'ddim';
  const verdicts = components.value?.solvers?.[doc.value.fidelity.name] ?? {};
  return (
    <div class="field">
      <label for="scheduler">Scheduler</label>
      <select
        id="scheduler"
        value={now}
        onChange={(event) => {
          const scheduler = event.currentTarget.value;
          edit((before) => ({ ...before, rest: { ...before.rest, scheduler } }));
        }}
      >
        {!list.includes(now) && <option value={now}>{now}</option>}
        {list.map((name) => (
          <option key={name} value={name} disabled={Boolean(verdicts[name])} title={verdicts[name]?.text}>
            {name}
            {verdicts[name] ? ` — ${verdicts[name]!.what}` : ''}
          </option>
        ))}
      </select>
      <Notes problems={problemsAt('scheduler', 'scheduler_options')} />
    </div>
  );
}
