import { describe, expect, test } from 'vitest';
import { SinkModel } from '../../../contracts/kit/sink-model.ts';
import { PostgresSink } from '../../../sinks/postgres/sink.ts';
import { type PostgresMajor, type PostgresServer, startPostgres } from '../../fixtures/embedded-postgres.ts';
import { createTestRuntime } from '../../fixtures/runtime.ts';
import { replicaPlace, sinkConfig } from './replica-place.ts';

/** What the newest servers print of `"char"` values, and the bytes that are meant. */
const PRINTED: readonly (readonly [text: string, byte: number])[] = [['a', 97], ['\\200', -128], ['\\377', -1]];

async function stored(server: PostgresServer): Promise<(number | undefined)[]> {
  const bytes: (number | undefined)[] = [];
  for (const [text] of PRINTED) {
    const [row] = await server.query<{ byte: number }>('SELECT CAST(CAST($1::text AS name) AS "char")::integer AS byte', [text]);
    bytes.push(row?.byte);
  }
  return bytes;
}

describe.each<readonly [PostgresMajor, boolean]>([[14, false], [15, true]])('on PostgreSQL %i', (version, keeps) => {
  test(`"char" values from 0x80 on are ${keeps ? 'kept' : 'stored as a backslash, of which check warns'}`, async () => {
    await using server = await startPostgres({ version });
    expect(await stored(server)).toEqual(keeps ? PRINTED.map(([, byte]) => byte) : [97, 92, 92]);

    const model = new SinkModel();
    const char = { nativeType: '"char"', type: { kind: 'text', length: 1, fixed: false } } as const;
    const id = { name: 'id', nativeType: 'integer', type: { kind: 'int32' }, nullable: false } as const;
    const flags = model.createTable('public', 'flags', [id, { name: 'flag', ...char, nullable: true }], ['id']).schema;
    const plain = model.createTable('public', 'plain', [id, { ...char, name: 'flag', nativeType: 'character(1)', nullable: true }], ['id']).schema;
    await using place = await replicaPlace(server);
    await using sink = new PostgresSink(sinkConfig(place.url('postgres')), createTestRuntime());
    const findings = await sink.check([flags, plain], new AbortController().signal);
    const warning = { severity: 'warning', code: 'replica-char', table: 'public.flags' };
    expect(findings.filter(({ code }) => code !== 'replica')).toEqual(keeps ? [] : [expect.objectContaining(warning)]);
  });
});
