import { durationOption, sizeOption } from '../../../contracts/option-schema.ts';
import type { Modules } from '../../../hub/config/schema.ts';

/** Option schemas of the kinds that real modules have, without the modules. */
export const MODULES: Modules = {
  connectors: [
    {
      type: 'postgres',
      options: {
        type: 'object',
        properties: {
          slot: { type: 'string', pattern: '^[a-z0-9_]{1,63}$', description: 'Replication slot' },
          workers: { type: 'integer', minimum: 1, maximum: 16 },
          failover: { type: 'boolean' },
          poll: durationOption({ description: 'How often', default: '5s', min: '100ms', max: '1h' }),
          heartbeat: {
            oneOf: [
              { const: 'none' },
              {
                type: 'object',
                required: ['every'],
                properties: { every: durationOption({ description: 'How often', min: '1s' }) },
                additionalProperties: false,
              },
            ],
          },
        },
        additionalProperties: false,
      },
    },
  ],
  sinks: [
    { type: 'postgres', options: { type: 'object', properties: { spool: sizeOption({ description: 'Memory', max: '1GiB' }) } }, tableOptions: null },
    {
      type: 'redis',
      options: {},
      tableOptions: { type: 'object', properties: { key: { type: 'string' }, ttl: durationOption({ description: 'Time to live' }) } },
    },
  ],
};
