// A form out of the JSON schema that pydantic makes of a component's options: one field an option, whatever the plugin.

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly title?: string;
  readonly default?: Json;
  readonly enum?: readonly Json[];
  readonly const?: Json;
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly items?: Schema;
  readonly prefixItems?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

export type Kind = 'flag' | 'whole' | 'real' | 'text' | 'choice' | 'choices' | 'json';

export interface Field {
  readonly name: string;
  readonly label: string;
  readonly help: string;
  readonly kind: Kind;
  /** May be none. */
  readonly optional: boolean;
  readonly initial: Json | undefined;
  readonly choices: readonly Json[];
  readonly low?: number;
  readonly high?: number;
}

/** The fields of an object's schema. `defaults` are the spec's own, which come before the schema's. */
export function fields(schema: Schema, defaults: Readonly<Record<string, Json>> = {}): Field[] {
  return Object.entries(schema.properties ?? {}).map(([name, raw]) => field(name, raw, schema, defaults[name]));
}

function field(name: string, raw: Schema, root: Schema, own: Json | undefined): Field {
  const outer = resolved(raw, root);
  const forms = (outer.anyOf ?? [outer]).map((one) => resolved(one, root));
  const real = forms.filter((one) => one.type !== 'null');
  const one = real.length === 1 ? real[0]! : {};
  const items = one.items ? resolved(one.items, root) : undefined;
  const choices = one.enum ?? (one.const !== undefined ? [one.const] : (items?.enum ?? []));
  const low = one.minimum ?? one.exclusiveMinimum;
  const high = one.maximum ?? one.exclusiveMaximum;
  return {
    name,
    label: name.replace(/_/g, ' '),
    help: raw.description ?? outer.description ?? '',
    kind: kindOf(one, items),
    optional: forms.length > real.length,
    initial: own !== undefined ? own : raw.default,
    choices,
    ...(low !== undefined ? { low } : {}),
    ...(high !== undefined ? { high } : {}),
  };
}

function kindOf(one: Schema, items: Schema | undefined): Kind {
  if (one.enum || one.const !== undefined) return 'choice';
  if (one.type === 'boolean') return 'flag';
  if (one.type === 'integer') return 'whole';
  if (one.type === 'number') return 'real';
  if (one.type === 'string') return 'text';
  if (one.type === 'array' && items?.enum) return 'choices';
  return 'json';
}

function resolved(schema: Schema, root: Schema): Schema {
  if (schema.$ref) {
    const found = root.$defs?.[schema.$ref.split('/').at(-1) ?? ''];
    return found ? { ...found, ...without(schema, '$ref') } : without(schema, '$ref');
  }
  if (schema.allOf?.length === 1) return { ...resolved(schema.allOf[0]!, root), ...without(schema, 'allOf') };
  return schema;
}

function without(schema: Schema, key: keyof Schema): Schema {
  const { [key]: _, ...rest } = schema;
  return rest;
}

export type Reading = { readonly value: Json | undefined } | { readonly wrong: string };

/** What was typed, as the option's value; undefined leaves the default. What only the server can judge it judges. */
export function readField(field: Field, text: string): Reading {
  const plain = text.trim();
  if (field.kind === 'text') return { value: text === '' ? undefined : text };
  if (plain === '') return { value: undefined };
  if (field.kind === 'json') {
    try {
      return { value: JSON.parse(plain) as Json };
    } catch {
      return { wrong: 'This is no JSON: write [0.9, 0.2], {"name": "value"} or "a text".' };
    }
  }
  const value = Number(plain);
  if (!Number.isFinite(value)) return { wrong: `“${plain.slice(0, 40)}” is no number.` };
  if (field.kind === 'whole' && !Number.isInteger(value)) return { wrong: 'A whole number is needed.' };
  if (field.low !== undefined && value < field.low) return { wrong: `At least ${field.low}.` };
  if (field.high !== undefined && value > field.high) return { wrong: `At most ${field.high}.` };
  return { value };
}

export function shownValue(value: Json | undefined): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : typeof value === 'object' ? JSON.stringify(value) : String(value);
}
