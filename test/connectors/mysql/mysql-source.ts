import type { SourceConfig } from '../../../contracts/config.ts';
import { Endpoint } from '../../../connectors/mysql/session.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';

/** A source of everything in the database `shop`. */
export function mysqlSource(url: string, more: Partial<SourceConfig> = {}): SourceConfig {
  return {
    name: 'shop',
    type: 'mysql',
    tables: ({ namespace }) => namespace === 'shop',
    tablePatterns: ['shop.*'],
    columns: new Map(),
    hashKey: null,
    options: { url },
    ...more,
  };
}

export function endpointOf(url: string, more: Partial<SourceConfig> = {}): Endpoint {
  return new Endpoint(mysqlSource(url, more), createTestRuntime());
}

/** For what nobody ends early. */
export const never: AbortSignal = new AbortController().signal;
