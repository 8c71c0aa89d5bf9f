import { createHash } from 'node:crypto';
import type { SinkConfig } from '../../contracts/config.ts';

const SECRET = /password|secret|token/i;
const CREDENTIALS = /\/\/[^/@]*@/g;

/**
 * What a rebuild depends on in the configuration of its sink: where it writes, what, and how. Another one makes another
 * shadow. Secrets are left out: they may be changed meanwhile, and must not be guessed from what is stored.
 */
export function fingerprint({ type, from, tablePatterns, tableOptions, options }: SinkConfig): string {
  const told = { type, from, tablePatterns, tableOptions: [...tableOptions], options };
  return createHash('sha256').update(JSON.stringify(told, withoutSecrets)).digest('hex').slice(0, 32);
}

function withoutSecrets(name: string, value: unknown): unknown {
  if (SECRET.test(name)) return undefined;
  if (typeof value === 'string') return value.replace(CREDENTIALS, '//');
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
