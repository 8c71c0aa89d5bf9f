/** A log of one table with a column of every kind of value that formats must tell apart. */
import type { SourceLog } from '../../../contracts/log-engine.ts';
import { Op } from '../../../contracts/op.ts';
import type { CellValue } from '../../../contracts/row-image.ts';
import { column, PastWriter, table } from './past-log.ts';

export const KINDS = table(1, 1, 'kinds', [
  column(1, 'id', { kind: 'int64' }, 'bigint'),
  column(2, 'small', { kind: 'int16' }, 'smallint'),
  column(3, 'whole', { kind: 'uint64' }, 'bigint unsigned'),
  column(4, 'exact', { kind: 'decimal', precision: 30, scale: 10 }, 'numeric(30,10)'),
  column(5, 'any', { kind: 'decimal', precision: null, scale: null }, 'numeric'),
  column(6, 'real', { kind: 'float32' }, 'real'),
  column(7, 'double', { kind: 'float64' }, 'double precision'),
  column(8, 'yes', { kind: 'bool' }, 'boolean'),
  column(9, 'raw', { kind: 'bytes' }, 'bytea'),
  column(10, 'uuid', { kind: 'uuid' }, 'uuid'),
  column(11, 'doc', { kind: 'json' }, 'jsonb'),
  column(12, 'day', { kind: 'date' }, 'date'),
  column(13, 'local', { kind: 'timestamp', digits: 6 }, 'timestamp'),
  column(14, 'moment', { kind: 'timestamptz', digits: 6 }, 'timestamptz'),
  column(15, 'span', { kind: 'interval', digits: 6 }, 'interval'),
  column(16, 'tags', { kind: 'array', element: { kind: 'text', length: null, fixed: false } }, 'text[]'),
  column(17, 'code', { kind: 'domain', name: 'code', base: { kind: 'int32' } }, 'code'),
  column(18, '7', { kind: 'text', length: null, fixed: false }, 'text'),
], [0]);

/** In order of their keys. */
export const KIND_ROWS: readonly (readonly CellValue[])[] = [
  [
    '-7', '-32768', '0', '-12345678901234567890.0123456789', '1e400', '-3.4028235e+38', '5e-324', 'f', Buffer.alloc(0),
    '00000000-0000-0000-0000-000000000000', '{"n":12345678901234567890.10}', '0001-01-01 BC', '4714-11-24 00:00:00 BC', '0001-01-01 00:00:00+00 BC',
    '00:00:00', '{}', '-1', '',
  ],
  [
    '9007199254740993', '32767', '18446744073709551615', '99999999999999999999.9999999999', 'NaN', '0.1', '1.7976931348623157e+308', 't', Buffer.of(0, 255, 10),
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '[1, 2]', '2026-11-21', '2026-11-21 10:11:12.000345', '1969-12-31 23:59:59.999999+00',
    '1 day 02:03:04', '{a,"b c"}', '2147483647', 'Grüße, "Welt"\nund mehr',
  ],
  ['9007199254740994', ...Array.from({ length: 17 }, () => null)],
  [
    '9223372036854775807', '0', '1', '0.0000000001', '-Infinity', 'NaN', '-0', 't', Buffer.from('text'), 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', '5874897-12-31',
    '1900-02-28 00:00:00', '2000-02-29 00:00:00+00', '-1 years', '{NULL}', '0', '\\.',
  ],
];

/** The rows, and a last one whose date fits no format but text, of which the offset is `KINDS_END`. */
export async function fillKinds(log: SourceLog): Promise<void> {
  await using writer = await log.openWriter(() => undefined);
  const past = new PastWriter();
  past.begin('hub', 0, 0).schema(KINDS).control(1, { type: 'copied', rows: 0 }).commit();
  past.begin('source', 1, 1);
  for (const row of KIND_ROWS) past.row(Op.create, KINDS, null, row);
  past.commit();
  past.begin('source', 2, 2).row(Op.create, KINDS, null, ['99', ...Array.from({ length: 10 }, () => null), 'infinity', ...Array.from({ length: 6 }, () => null)]).commit();
  await writer.append(past.take());
  await writer.flush();
}

export const KINDS_END = KIND_ROWS.length + 3;
