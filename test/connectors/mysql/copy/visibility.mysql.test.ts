import { SERVERS, visibilityTests } from './visibility-suite.ts';

visibilityTests(SERVERS.slice(0, 2), 6);
