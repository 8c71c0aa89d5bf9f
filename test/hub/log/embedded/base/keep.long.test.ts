import { describe, it } from 'vitest';
import { checkKept } from './keep-property.ts';

const BUDGET_MS = Number(process.env['TIDEMARK_SEARCH_SECONDS'] ?? 60) * 1_000;

describe('tables that are kept in different ways, for longer', () => {
  it('have their records and rows for as long as they are to be kept, and no longer without saying so', () => checkKept(1_000_000, BUDGET_MS));
});
