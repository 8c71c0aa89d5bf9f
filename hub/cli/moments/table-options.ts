import type { HubOptions } from '../hub-access.ts';

export const FORMATS = ['table', 'ndjson', 'csv', 'parquet'] as const;

/** Of `tidemark table`. */
export interface TableOptions extends HubOptions {
  readonly asOf: string;
  readonly where?: readonly string[];
  readonly format: (typeof FORMATS)[number];
  readonly output?: string;
  readonly limit?: number;
  readonly asText?: boolean;
}
