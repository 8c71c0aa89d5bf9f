import type pg from 'pg';
import type { SinkConfig } from '../../contracts/config.ts';
import type { TableSchema } from '../../contracts/schema.ts';
import { POSTGRES_NAMES } from '../relational/identifiers.ts';
import { type NameRules, nameRules } from '../relational/names.ts';
import { addEnumLabels, createMissingTypes } from './replica-types.ts';

/** How the types of users that a table names come to be at the replica. */
export interface TypeRules {
  /** Before the transaction of the batch, on a session of its own. */
  prepare(client: pg.ClientBase, schema: TableSchema): Promise<void>;
  /** In the transaction of the batch. Answers the shape that the table gets. */
  provide(client: pg.ClientBase, schema: TableSchema): Promise<TableSchema>;
}

/** Which tables a sink writes to, and under which name its checkpoint stands. */
export interface SinkTarget {
  readonly sink: string;
  readonly names: NameRules;
  readonly types: TypeRules;
}

/** Types are made where they are missing, and follow the source's. */
const SERVED_TYPES: TypeRules = {
  prepare: addEnumLabels,
  provide: async (client, schema) => {
    await createMissingTypes(client, schema);
    return schema;
  },
};

/** The tables that readers of the replica use. */
export function servedTarget(config: SinkConfig): SinkTarget {
  return { sink: config.name, names: nameRules(config, POSTGRES_NAMES), types: SERVED_TYPES };
}
