import { SERVERS, visibilityTests } from './visibility-suite.ts';

visibilityTests(SERVERS, 60);
