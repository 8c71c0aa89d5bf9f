import { BACKUP_ERRORS } from './backup-errors.ts';
import { CONTRACT_ERRORS } from './contract-errors.ts';
import { HUB_ERRORS } from './hub-errors.ts';
import { LOG_ERRORS } from './log-errors.ts';
import { MYSQL_ERRORS } from './mysql-errors.ts';
import { POSTGRES_ERRORS } from './postgres-errors.ts';
import { SINK_ERRORS } from './sink-errors.ts';

/**
 * Every error code of Tidemark. A code is stable: it is never given another meaning. The documentation page
 * docs/errors.md is generated from these entries.
 */
export const CATALOGUE = {
  ...CONTRACT_ERRORS,
  ...LOG_ERRORS,
  ...POSTGRES_ERRORS,
  ...MYSQL_ERRORS,
  ...SINK_ERRORS,
  ...HUB_ERRORS,
  ...BACKUP_ERRORS,
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof CATALOGUE;

export interface CatalogueEntry {
  /** What it means, in a sentence or two. */
  readonly means: string;
  /** What to do. */
  readonly remedy: string;
  readonly retry: 'auto' | 'operator' | 'never';
}
