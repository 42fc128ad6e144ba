// Small parts that all others are made of.
import type { ComponentChildren } from 'preact';
import type { Problem } from '../api';
import { sentence } from '../model/words';
import { Icon, type IconName } from './icons';

export function IconButton(props: {
  icon: IconName;
  label: string;
  onClick: () => void;
  disabled?: boolean;
  pressed?: boolean;
  class?: string;
}) {
  return (
    <button
      type="button"
      class={`icon-button ${props.class ?? ''}`}
      title={props.label}
      aria-label={props.label}
      aria-pressed={props.pressed}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}

/** What is wrong with a field and its mend, in the server's own words, beside the field. */
export function Notes({ problems, id }: { problems: readonly Problem[]; id?: string }) {
  if (!problems.length) return null;
  return (
    <div class="notes" id={id} role="alert">
      {problems.map((problem) => (
        <p key={problem.text}>
          <strong>{sentence(problem.where && !problem.what.includes(problem.where) ? `${problem.where}: ${problem.what}` : problem.what)}</strong>{' '}
          {problem.mend && <span>{sentence(problem.mend)}</span>}
        </p>
      ))}
    </div>
  );
}

export function Section(props: { title: string; children: ComponentChildren; aside?: ComponentChildren; id?: string }) {
  const id = props.id ?? `section-${props.title.toLowerCase().replace(/\W+/gu, '-')}`;
  return (
    <section class="section" aria-labelledby={id}>
      <header class="section-head">
        <h2 id={id}>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}

export const percent = (share: number): string => `${Math.round(share * 100)} %`;

export function seconds(value: number): string {
  if (value < 1) return 'under a second';
  if (value < 90) return `${Math.round(value)} s`;
  return `${Math.round(value / 60)} min`;
}
