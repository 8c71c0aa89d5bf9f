import type { SinkConfig } from '../../contracts/config.ts';
import { MYSQL_TABLE_NAMES } from '../relational/identifiers.ts';
import { type NameRules, nameRules } from '../relational/names.ts';
import { type UnfitRules, unfitRules } from '../relational/unfit.ts';
import type { ServerFacts } from './server.ts';

/** Which tables a sink writes to, under which name its checkpoint stands, and what columns may become. */
export interface SinkTarget {
  readonly sink: string;
  readonly names: NameRules;
  readonly unfit: UnfitRules;
}

/** With the names that tables have at this server. */
export function targetAt({ foldsNames }: Pick<ServerFacts, 'foldsNames'>, target: SinkTarget): SinkTarget {
  return foldsNames ? { ...target, names: { ...target.names, caseless: true } } : target;
}

/** The tables that readers of the replica use. */
export function servedTarget(config: SinkConfig): SinkTarget {
  return { sink: config.name, names: nameRules(config, MYSQL_TABLE_NAMES), unfit: unfitRules(config) };
}
