import { describe, it } from 'vitest';
import { checkFaults, OPERATIONS } from './fold-faults.ts';

describe('a fold of which any operation fails', () => {
  it.each(OPERATIONS)('leaves the log as it was, and nothing behind for long: %s', { timeout: 300_000 }, (operation) => checkFaults(operation, 1));
});
