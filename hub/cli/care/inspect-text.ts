import type { Inspected } from '../../log/embedded/inspect/inspect.ts';
import { shortened } from '../text/text-table.ts';

const LONGEST_VALUE = 120;
const INDENT = '  ';

/** A thing of a file as a line for people: what it is, then `name value` for all that it says. */
function inspectLine({ kind, depth, fields }: Inspected): string {
  const words = Object.entries(fields).flatMap(([name, value]) => wordsOf(name, value));
  return `${INDENT.repeat(depth)}${kind}  ${words.join('  ')}`.trimEnd();
}

/** A manifest is read best as it stands. */
export function inspectLines(thing: Inspected): string[] {
  return thing.kind === 'manifest' ? JSON.stringify(thing.fields, null, 2).split('\n') : [inspectLine(thing)];
}

function wordsOf(name: string, value: unknown): string[] {
  if (value === null || value === '' || value === false || (Array.isArray(value) && value.length === 0)) return [];
  if (value === true) return [name];
  return [`${name} ${shortened(typeof value === 'string' ? value : JSON.stringify(value), LONGEST_VALUE)}`];
}
