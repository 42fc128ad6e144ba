// Phrases in the prompt: which words belong to which region, and a prompt that grows with what is placed.

export interface Phrased {
  readonly id: string;
  readonly phrase: string;
}
export interface Piece {
  readonly text: string;
  /** Of the regions that these words belong to; empty for words between. */
  readonly ids: readonly string[];
}

const isWord = (letter: string | undefined): boolean => letter !== undefined && /[\p{L}\p{N}]/u.test(letter);

/** Where a phrase stands in a text as whole words, whatever its case; the first place that is not taken. */
export function placeOf(text: string, phrase: string, taken: readonly (readonly [number, number])[] = []): [number, number] | null {
  const wanted = phrase.trim().toLowerCase();
  if (!wanted) return null;
  const low = text.toLowerCase();
  for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, at + 1)) {
    const end = at + wanted.length;
    if (isWord(low[at - 1]) || isWord(low[end])) continue;
    if (!taken.some(([from, to]) => at < to && from < end)) return [at, end];
  }
  return null;
}

/** The prompt in pieces, each with the regions that it belongs to. Regions of one phrase share its place. */
export function pieces(prompt: string, regions: readonly Phrased[]): Piece[] {
  const places = new Map<string, { span: [number, number]; ids: string[] }>();
  const taken: [number, number][] = [];
  const longest = [...regions].sort((a, b) => b.phrase.trim().length - a.phrase.trim().length);
  for (const { id, phrase } of longest) {
    const key = phrase.trim().toLowerCase();
    const known = places.get(key);
    if (known) known.ids.push(id);
    else {
      const span = placeOf(prompt, phrase, taken);
      if (!span) continue;
      taken.push(span);
      places.set(key, { span, ids: [id] });
    }
  }
  const found: Piece[] = [];
  let at = 0;
  for (const { span, ids } of [...places.values()].sort((a, b) => a.span[0] - b.span[0])) {
    if (span[0] > at) found.push({ text: prompt.slice(at, span[0]), ids: [] });
    found.push({ text: prompt.slice(span[0], span[1]), ids });
    at = span[1];
  }
  if (at < prompt.length) found.push({ text: prompt.slice(at), ids: [] });
  return found;
}

export const isSaid = (prompt: string, phrase: string): boolean => placeOf(prompt, phrase) !== null;

/** The prompt with a phrase that it lacked, before a backdrop such as "on grass" where there is one. */
export function withPhrase(prompt: string, phrase: string): string {
  const words = phrase.trim();
  const text = prompt.trim();
  if (!words || isSaid(text, words)) return prompt;
  if (!text) return words;
  const backdrop = /\s+(?:on|in|at|under|against|with)\s+(?!the (?:left|right)\b)[^,]*$/iu.exec(text);
  const head = backdrop ? text.slice(0, backdrop.index) : text;
  const tail = backdrop ? backdrop[0] : '';
  const last = / and (?=[^,]*$)/u.exec(head);
  const listed = last ? `${head.slice(0, last.index)}, ${head.slice(last.index + 5)}` : head;
  return `${listed} and ${words}${tail}`;
}

/** The prompt with a phrase written otherwise: the thing was renamed. */
export function withRenamed(prompt: string, before: string, after: string): string {
  const span = placeOf(prompt, before);
  if (!span || !after.trim()) return withPhrase(prompt, after);
  return prompt.slice(0, span[0]) + after.trim() + prompt.slice(span[1]);
}

/** Nouns with their article, as a prompt lists them, that no region holds yet: what one may want to place next. */
export function suggestions(prompt: string, regions: readonly Phrased[]): string[] {
  const held = new Set(regions.map((region) => region.phrase.trim().toLowerCase()));
  const parts = prompt.split(/,|\band\b|\b(?:on|in|at|under|above|below|next|to the|left|right|of|with|against|behind|beside|near)\b/giu);
  const found = parts.map((part) => part.trim()).filter((part) => /^(?:an?|the|one|two|three|four|five|six|\d+)\s+\S/iu.test(part));
  return [...new Set(found)].filter((part) => !held.has(part.toLowerCase()));
}

/** As a sentence of its own: the server's texts begin small and end without a stop. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (!trimmed) return '';
  const head = /^[a-z][a-z]* /u.test(trimmed) ? trimmed[0]!.toUpperCase() + trimmed.slice(1) : trimmed;
  return /[.!?…:]$/u.test(head) ? head : `${head}.`;
}
