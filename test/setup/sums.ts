import { readFile } from 'node:fs/promises';

/** True sums over a vitest run, of the file that its json reporter wrote. */
export interface Sums {
  readonly passed: number;
  readonly failed: number;
}

/**
 * A test file that could not be loaded counts as one failure. A run that wrote no report, or that failed without a failed
 * test (an unhandled rejection), counts as one failure too.
 */
export function sumsOf(report: unknown, status: number): Sums {
  const { passed, failed } = counted(report);
  return { passed, failed: failed === 0 && (status !== 0 || passed === 0) ? 1 : failed };
}

function counted(report: unknown): Sums {
  let passed = 0;
  let failed = 0;
  for (const file of listIn(report, 'testResults')) {
    const states = listIn(file, 'assertionResults').map((test) => (isObject(test) ? test['status'] : ''));
    const failures = states.filter((state) => state === 'failed').length;
    passed += states.filter((state) => state === 'passed').length;
    failed += failures === 0 && isObject(file) && file['status'] === 'failed' ? 1 : failures;
  }
  return { passed, failed };
}

function listIn(value: unknown, name: string): readonly unknown[] {
  const list: unknown = isObject(value) ? value[name] : [];
  return Array.isArray(list) ? list : [];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** `node test/setup/sums.ts REPORT STATUS` prints `passed failed`. */
if (import.meta.main) {
  const [file = '', status = '1'] = process.argv.slice(2);
  const text = await readFile(file, 'utf8').catch(() => '{}');
  const { passed, failed } = sumsOf(JSON.parse(text === '' ? '{}' : text), Number(status));
  console.log(`${passed} ${failed}`);
}
