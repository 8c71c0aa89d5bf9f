/** Checks values against the schemas of schema.ts; what is wrong is said in words, with the path, never with the value. */
import { Ajv, type AnySchemaObject, type ErrorObject, type FuncKeywordDefinition, type SchemaObject } from 'ajv';
import { closest, distance } from 'fastest-levenshtein';
import type { UnitBounds } from '../../contracts/option-schema.ts';
import { parseDuration, parseSize } from '../../contracts/units.ts';
import { pointerSteps, pointerTo } from './document.ts';

export interface Fault {
  readonly code: 'CONFIG_UNKNOWN_KEY' | 'CONFIG_MISSING_KEY' | 'CONFIG_VALUE';
  readonly what: string;
  readonly remedy: string | null;
  /** JSON pointer of the value, or of the key when `atKey`. */
  readonly pointer: string;
  readonly atKey: boolean;
}

/**
 * Checks `value`, in which defaults are filled in and sizes and durations become numbers. `pointer` is the place of
 * `value` in the file; `substituted` the pointers whose text came from a `${...}`, where a number or `true` may stand as
 * text.
 */
export type Validator<T> = (value: unknown, pointer: string, substituted: ReadonlySet<string>) => Validated<T>;
export type Validated<T> = { readonly value: T } | { readonly faults: readonly Fault[] };

/**
 * `T` is what the schema describes.
 * @throws Error when the schema itself is not valid: an error of the module that brings it
 */
export function compileValidator<T>(schema: SchemaObject): Validator<T> {
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    useDefaults: true,
    // Defaults inside a choice are for editors only; a module fills them in itself.
    strictSchema: false,
    strictTypes: false,
    allowUnionTypes: true,
    validateFormats: false,
  });
  ajv.addKeyword(unitKeyword('size', parseSize));
  ajv.addKeyword(unitKeyword('duration', parseDuration));
  const validate = ajv.compile<T>(schema);
  return (value, pointer, substituted) => {
    if (validate(value)) return { value };
    if (convertSubstituted(value, pointer, validate.errors ?? [], substituted) && validate(value)) return { value };
    return { faults: faultsOf(validate.errors ?? [], pointer) };
  };
}

/** Turns the text into its number, and checks the bounds. */
function unitKeyword(keyword: 'size' | 'duration', parse: (text: string | number) => number | null): FuncKeywordDefinition {
  return {
    keyword,
    type: ['string', 'number'],
    schemaType: 'object',
    modifying: true,
    errors: true,
    compile: (bounds: UnitBounds) => {
      const least = bounds.min === undefined ? 0 : parse(bounds.min);
      const most = bounds.max === undefined ? Number.MAX_SAFE_INTEGER : parse(bounds.max);
      const check: ReturnType<NonNullable<FuncKeywordDefinition['compile']>> = (data: string | number, context) => {
        const value = parse(data);
        if (context === undefined || least === null || most === null) return true;
        // Text that is no size or duration is reported by the schema's pattern.
        if (value === null && typeof data === 'string') return true;
        if (value === null || value < least || value > most) {
          check.errors = [{ keyword, message: `must be ${boundsText(bounds)}`, params: {} }];
          return false;
        }
        const parent: Record<string | number, unknown> = context.parentData;
        parent[context.parentDataProperty] = value;
        return true;
      };
      return check;
    },
  };
}

function boundsText({ min, max }: UnitBounds): string {
  if (min !== undefined && max !== undefined) return `from ${min} to ${max}`;
  return min === undefined ? `${max} at most` : `${min} at least`;
}

/** Texts from the environment that stand where a number or a boolean is wanted become one. True if any did. */
function convertSubstituted(value: unknown, base: string, errors: readonly ErrorObject[], substituted: ReadonlySet<string>): boolean {
  let converted = false;
  for (const error of errors) {
    if (error.keyword !== 'type' || !substituted.has(base + error.instancePath)) continue;
    const steps = pointerSteps(error.instancePath);
    const last = steps.pop();
    const parent = steps.reduce<unknown>((inner, step) => (isObject(inner) ? inner[step] : undefined), value);
    if (last === undefined || !isObject(parent)) continue;
    const scalar = scalarOf(parent[last]);
    if (scalar === undefined) continue;
    parent[last] = scalar;
    converted = true;
  }
  return converted;
}

function scalarOf(text: unknown): number | boolean | undefined {
  if (text === 'true' || text === 'false') return text === 'true';
  if (typeof text === 'string' && /^-?[0-9]{1,15}(\.[0-9]{1,15})?$/.test(text)) return Number(text);
  return undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function faultsOf(errors: readonly ErrorObject[], base: string): Fault[] {
  const faults = errors.filter((error) => speaks(error, errors) && !isMisspelt(error, errors)).map((error) => faultOf(error, base));
  const seen = new Set<string>();
  return faults.filter((fault) => {
    const identity = `${fault.pointer}\n${fault.atKey}\n${fault.what}`;
    return !seen.has(identity) && seen.add(identity);
  });
}

/** False for errors that only repeat others: of the branches of a choice, unless one went deeper; of a wrong type's form. */
function speaks(error: ErrorObject, all: readonly ErrorObject[]): boolean {
  const choice = all.find(
    (other) => (other.keyword === 'anyOf' || other.keyword === 'oneOf') && error !== other && error.schemaPath.startsWith(`${other.schemaPath}/`),
  );
  if (choice !== undefined) return error.instancePath.length > choice.instancePath.length;
  if (error.keyword === 'anyOf' || error.keyword === 'oneOf') {
    return !all.some((other) => other.schemaPath.startsWith(`${error.schemaPath}/`) && other.instancePath.length > error.instancePath.length);
  }
  // `propertyNames` repeats the error of the name's own schema; the latter knows no place.
  return error.propertyName === undefined;
}

/** A key that is missing only because it is misspelt: mending the one mends the other. */
function isMisspelt({ keyword, instancePath, params }: ErrorObject, all: readonly ErrorObject[]): boolean {
  if (keyword !== 'required') return false;
  const missing: unknown = params['missingProperty'];
  return all.some(
    (other) =>
      other.keyword === 'additionalProperties' &&
      other.instancePath === instancePath &&
      nearest(String(other.params['additionalProperty']), keysOf(other.parentSchema)) === missing,
  );
}

function faultOf(error: ErrorObject, base: string): Fault {
  const pointer = base + error.instancePath;
  const name = nameOf(pointer);
  const value = (what: string, remedy: string | null = null): Fault => ({
    code: 'CONFIG_VALUE',
    what: `${name} ${what}`,
    remedy,
    pointer,
    atKey: false,
  });
  const params: Readonly<Record<string, unknown>> = error.params;
  switch (error.keyword) {
    case 'additionalProperties':
      return unknownKey(pointer, String(params['additionalProperty']), keysOf(error.parentSchema));
    case 'required':
      return { ...value(`lacks \`${String(params['missingProperty'])}\``), code: 'CONFIG_MISSING_KEY', atKey: true };
    case 'propertyNames':
      return nameFault(pointer, String(params['propertyName']));
    case 'type':
      return value(`must be ${typeText(params['type'])}`);
    case 'enum':
    case 'const':
      return oneOf(value, error);
    case 'pattern':
      return value(patternText(error.parentSchema));
    case 'minItems':
    case 'minProperties':
      return value('must not be empty');
    case 'minLength':
      return value(`must have ${String(params['limit'])} characters at least`);
    default:
      return value(error.message ?? 'is not valid');
  }
}

function unknownKey(pointer: string, key: string, known: readonly string[]): Fault {
  const near = nearest(key, known);
  const remedy =
    known.length === 0
      ? 'Remove it.'
      : `${near === null ? '' : `Did you mean \`${near}\`? `}Known here: ${known.join(', ')}.`;
  return {
    code: 'CONFIG_UNKNOWN_KEY',
    what: `unknown key \`${key}\` in ${nameOf(pointer)}${near === null ? '' : `; the nearest known one is \`${near}\``}`,
    remedy,
    pointer: pointerTo(pointer, key),
    atKey: true,
  };
}

function nameFault(pointer: string, name: string): Fault {
  return {
    code: 'CONFIG_VALUE',
    what: `the name \`${name}\` in ${nameOf(pointer)} is not usable`,
    remedy: 'Use lower-case letters, digits, - and _, beginning with a letter, 40 characters at most.',
    pointer: pointerTo(pointer, name),
    atKey: true,
  };
}

function oneOf(value: (what: string, remedy?: string) => Fault, error: ErrorObject): Fault {
  const params: Readonly<Record<string, unknown>> = error.params;
  const allowed = Array.isArray(params['allowedValues']) ? params['allowedValues'].map(String) : [String(params['allowedValue'])];
  if (allowed.length === 0) return value('has no possible value: nothing of this kind is registered');
  const near = typeof error.data === 'string' ? nearest(error.data, allowed) : null;
  return value(`must be ${allowed.length === 1 ? '' : 'one of '}${allowed.join(', ')}`, near === null ? undefined : `Did you mean \`${near}\`?`);
}

/** The known name that is near enough to be a slip of the fingers, or null. */
export function nearest(name: string, known: readonly string[]): string | null {
  if (known.length === 0) return null;
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[-_ ]/g, '');
  const same = known.find((other) => plain(other) === plain(name));
  if (same !== undefined) return same;
  const near = closest(name, [...known]);
  return distance(name, near) <= Math.max(2, Math.floor(near.length / 2)) ? near : null;
}

function keysOf(schema: AnySchemaObject | undefined): string[] {
  const properties: unknown = schema?.['properties'];
  return isObject(properties) ? Object.keys(properties) : [];
}

function typeText(type: unknown): string {
  const words: Readonly<Record<string, string>> = {
    object: 'a map',
    array: 'a list',
    string: 'text',
    integer: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
    null: 'null',
  };
  const types = Array.isArray(type) ? type : String(type).split(',');
  return types.map((one) => words[String(one)] ?? String(one)).join(' or ');
}

function patternText(schema: AnySchemaObject | undefined): string {
  if (schema?.['size'] !== undefined) return 'must be a size such as 256MiB or 200GB';
  if (schema?.['duration'] !== undefined) return 'must be a duration such as 500ms, 30s or 7d';
  const description: unknown = schema?.['description'];
  return typeof description === 'string' ? `does not have its form: ${description}` : 'does not have the form that is expected';
}

/** `sources.shop.tables[2]`, for people. */
export function nameOf(pointer: string): string {
  const steps = pointerSteps(pointer);
  if (steps.length === 0) return 'the configuration';
  const path = steps
    .map((step, index) => {
      if (/^[0-9]+$/.test(step)) return `[${step}]`;
      if (!/^[A-Za-z0-9_-]+$/.test(step)) return `["${step}"]`;
      return index === 0 ? step : `.${step}`;
    })
    .join('');
  return `\`${path}\``;
}
