import { failoverTests, gapTests, liveTests, lostTests, modeTests, rotationTests } from './gtid-suite.ts';

modeTests('mysql-9');
for (const version of ['mysql-9', 'mariadb-11.8'] as const) {
  rotationTests(version);
  liveTests(version);
  lostTests(version);
  gapTests(version);
  failoverTests(version);
}
