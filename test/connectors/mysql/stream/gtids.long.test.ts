import { failoverTests, liveTests, lostTests, modeTests, rotationTests } from './gtid-suite.ts';

modeTests('mysql-9');
rotationTests('mysql-9');
liveTests('mysql-9');
lostTests('mysql-9');
failoverTests('mysql-9');
