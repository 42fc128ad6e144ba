// Undo and redo over immutable states. Changes that share a tag and follow each other (one drag, one word being typed) are one step back.

export interface History<T> {
  readonly past: readonly T[];
  readonly present: T;
  readonly future: readonly T[];
  /** Of the last change; null ends it, so that the next change is a step of its own. */
  readonly tag: string | null;
}

export const MOST_STEPS = 200;

export const begun = <T>(present: T): History<T> => ({ past: [], present, future: [], tag: null });

export function changed<T>(history: History<T>, next: T, tag: string | null = null): History<T> {
  if (next === history.present) return history;
  if (tag !== null && tag === history.tag) return { ...history, present: next, future: [] };
  return { past: [...history.past, history.present].slice(-MOST_STEPS), present: next, future: [], tag };
}

/** The change that is under way is over: what follows is another. */
export const settled = <T>(history: History<T>): History<T> => (history.tag === null ? history : { ...history, tag: null });

export function undone<T>(history: History<T>): History<T> {
  const last = history.past.at(-1);
  if (last === undefined) return history;
  return { past: history.past.slice(0, -1), present: last, future: [history.present, ...history.future], tag: null };
}

export function redone<T>(history: History<T>): History<T> {
  const [next, ...rest] = history.future;
  if (next === undefined) return history;
  return { past: [...history.past, history.present], present: next, future: rest, tag: null };
}
