import { describe } from 'vitest';
import { sinkKitOn } from './sink-kit-on.ts';

/** The other servers and ways are in the long tests. */
describe('the MySQL sink', () => {
  sinkKitOn('mysql-9', 'load-data');
  sinkKitOn('mariadb-11.8', 'statements');
});
