import { postgresSink } from '../sinks/postgres/index.ts';
import type { Registry } from './hub.ts';

/** The one file that names implementations: a new connector or sink is one folder and one line here. */
export const registry: Registry = {
  connectors: [],
  sinks: [postgresSink],
};
