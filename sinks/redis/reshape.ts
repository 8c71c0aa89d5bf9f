/**
 * What becomes of rows that are in Redis already when the shape of their table changes. A walk over the table's keys
 * reads each row, edits names, and writes it back. A walk may be cut short and done again, so it must be one whose
 * second run changes nothing: no name that it takes away may be one that it gives. Where a change needs that (column a
 * dropped and b renamed to a, two names swapped), it is done in two walks with names in between.
 */
import { baseType } from '../../contracts/types/logical-type.ts';
import { membersOf } from './json/json-text.ts';
import { memberLabel } from './json/json-value.ts';
import { ChunkPool, CommandBuffer } from './resp/command-buffer.ts';
import { constantBytes, jsonFieldWriter } from './row-writer.ts';
import type { Field, LayoutChange, TableLayout } from './table-layout.ts';

/** One walk. */
export interface Walk {
  readonly layout: TableLayout;
  readonly drop: ReadonlySet<string>;
  /** From the name that rows have to the one that they get. */
  readonly rename: ReadonlyMap<string, string>;
  readonly fill: readonly Field[];
  /** Rows get the keys of `layout`. */
  readonly moves: boolean;
}

/** One walk, or two of which the first leaves names in between. */
export function walksOf(change: LayoutChange): readonly Walk[] {
  const { after, dropped, renamed, filled, moves } = change;
  const taken = new Set([...dropped, ...renamed.map(([from]) => from)]);
  const given = [...renamed.map(([, to]) => to), ...filled.map(({ name }) => name)];
  const once: Walk = { layout: after, drop: new Set(dropped), rename: new Map(renamed), fill: filled, moves };
  if (!given.some((name) => taken.has(name))) return [once];
  const between = (name: string): string => `\u0001${name}`;
  return [
    { layout: after, drop: new Set(dropped), rename: new Map(renamed.map(([from, to]) => [from, between(to)])), fill: [], moves: false },
    { layout: after, drop: new Set(), rename: new Map(renamed.map(([, to]) => [between(to), to])), fill: filled, moves },
  ];
}

/** A hash, as HGETALL gives it: names and values in turn. */
export interface HashEdit {
  /** Every name and value of the row as it shall be. */
  readonly all: readonly (readonly [name: string, value: Buffer])[];
  /** Those of them that differ from what is there. */
  readonly changed: readonly (readonly [name: string, value: Buffer])[];
  readonly removed: readonly string[];
}

export function editHash(pairs: readonly Buffer[], walk: Walk): HashEdit {
  const all = new Map<string, Buffer>();
  const changed = new Map<string, Buffer>();
  const removed: string[] = [];
  const renames: [string, Buffer][] = [];
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const name = (pairs[i] as Buffer).toString('utf8');
    const value = pairs[i + 1] as Buffer;
    const to = walk.rename.get(name);
    if (to === undefined && !walk.drop.has(name)) all.set(name, value);
    else removed.push(name);
    if (to !== undefined) renames.push([to, value]);
  }
  // Over what has the new name already: there only where the row was written again in its old shape.
  for (const [name, value] of renames) {
    all.set(name, value);
    changed.set(name, value);
  }
  for (const field of walk.fill) {
    if (field.column.fill === null) continue;
    const value = constantBytes(field, field.column.fill);
    all.set(field.name, value);
    changed.set(field.name, value);
  }
  return { all: [...all], changed: [...changed], removed: removed.filter((name) => !changed.has(name)) };
}

/** A JSON object with its members edited; null when the text is no object. Values keep their text. */
export function editJson(text: Buffer, walk: Walk): Buffer | null {
  const members = membersOf(text);
  if (members === null) return null;
  const renamedTo = new Set(walk.rename.values());
  const filled = new Set(walk.fill.map(({ name }) => name));
  const present = new Set(members.map(({ name }) => name));
  const parts: Buffer[] = [];
  for (const { name, start, end } of members) {
    if (walk.drop.has(name) || filled.has(name)) continue;
    // A second run finds old and new name together only where the row was written again in its old shape.
    const replaced = renamedTo.has(name) && [...walk.rename].some(([from, to]) => to === name && present.has(from));
    if (replaced) continue;
    parts.push(Buffer.concat([memberLabel(walk.rename.get(name) ?? name), text.subarray(start, end)]));
  }
  for (const field of walk.fill) parts.push(Buffer.concat([memberLabel(field.name), fillAsJson(walk.layout, field)]));
  return Buffer.concat([OPEN, ...parts.flatMap((part, index) => (index === 0 ? [part] : [COMMA, part])), CLOSE]);
}

const OPEN = Buffer.from('{', 'latin1');
const CLOSE = Buffer.from('}', 'latin1');
const COMMA = Buffer.from(',', 'latin1');

function fillAsJson(layout: TableLayout, field: Field): Buffer {
  const value = constantBytes(field, field.column.fill ?? '');
  const out = new CommandBuffer(new ChunkPool());
  jsonFieldWriter(layout, field)(out, value, 0, value.length, baseType(field.column.type).kind === 'bytes');
  return Buffer.from(out.bytes.subarray(0, out.length));
}
