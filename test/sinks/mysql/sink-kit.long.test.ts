import { describe } from 'vitest';
import { MYSQL_VERSIONS } from '../../fixtures/mysql.ts';
import { sinkKitOn } from './sink-kit-on.ts';

describe('the MySQL sink on every server', () => {
  for (const version of MYSQL_VERSIONS) {
    for (const way of ['load-data', 'statements'] as const) sinkKitOn(version, way);
  }
});
