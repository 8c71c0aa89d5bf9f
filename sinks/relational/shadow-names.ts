/** Where the shadow of a sink stands at the replica: names that nothing else has. Pure. */
import { crc32 } from 'node:zlib';
import type { NameRules, TargetName } from './names.ts';

const PREFIX = 'tidemark_shadow_';
/** Bytes of a name that every kind of replica keeps. */
const NAME_BYTES = 63;

export interface ShadowNames {
  /** The sink whose shadow it is. */
  readonly sink: string;
  /** The name of the shadow's row among the checkpoints: no sink can have it. */
  readonly checkpoint: string;
  /** Holds all of the shadow's tables and nothing else. */
  readonly schema: string;
}

export function shadowNames(sink: string): ShadowNames {
  return { sink, checkpoint: `${sink} (shadow)`, schema: schemaName(sink) };
}

/** By the table's id: tables that change names, or have the same in two schemas, do not meet. */
export function shadowTable({ schema }: ShadowNames, tableId: number): TargetName {
  return { schema, name: `rebuilt_${tableId}` };
}

export function shadowRules(names: ShadowNames): NameRules {
  return { schemas: new Map(), templateOf: () => null, byId: (tableId) => shadowTable(names, tableId) };
}

/** What was made outside of the shadow's schema for it, and what became of it. */
export function notesTable({ schema }: ShadowNames): TargetName {
  return { schema, name: 'notes' };
}

function schemaName(sink: string): string {
  const whole = `${PREFIX}${sink}`;
  const bytes = Buffer.from(whole, 'utf8');
  if (bytes.length <= NAME_BYTES) return whole;
  const sum = crc32(bytes).toString(16).padStart(8, '0');
  return `${bytes.subarray(0, NAME_BYTES - 9).toString('utf8').replace(/\uFFFD$/, '')}_${sum}`;
}
