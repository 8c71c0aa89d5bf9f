import { expect, test } from 'vitest';
import { EventHeader } from '../../../../connectors/mysql/binlog/event-header.ts';
import { parseFormatDescription } from '../../../../connectors/mysql/binlog/format-description.ts';
import { parseTableMap } from '../../../../connectors/mysql/binlog/table-map.ts';
import { typeOfWireColumn, wireColumn } from '../../../../connectors/mysql/values/wire-column.ts';
import { eventSpans, goldenLogs } from '../golden/golden.ts';

const TABLE_MAP = 19;

/** Types of all tables in a recorded log, as their table maps tell them. */
function typesOf(bytes: Buffer): Map<string, (string | null)[]> {
  const [first, ...others] = eventSpans(bytes);
  if (first === undefined) throw new Error('a log without events');
  const format = parseFormatDescription(bytes, first.start, first.end);
  const header = new EventHeader();
  const types = new Map<string, (string | null)[]>();
  for (const { start, end } of others) {
    if (bytes[start + 4] !== TABLE_MAP) continue;
    header.read(bytes, start, end, format.checksumBytes);
    const map = parseTableMap(format, header, bytes);
    types.set(`${map.database}.${map.table}`, [...map.types.keys()].map((column) => typeOfWireColumn(wireColumn(map, column))?.text ?? null));
  }
  return types;
}

const ORDERS = [
  'bigint unsigned', 'varchar(40) character set utf8mb4', 'text character set latin1', 'decimal(12,2)', 'int', "enum('new','paid','sent') character set utf8mb4",
  "set('gift','rush','größe') character set utf8mb4", 'datetime(6)', 'longblob',
];

test.each(goldenLogs().filter(({ scenario }) => scenario === 'rows'))('full metadata of $version tell the types of a table', ({ bytes }) => {
  expect(typesOf(bytes).get('golden.orders')).toEqual(ORDERS);
});

test.each(goldenLogs().filter(({ scenario }) => scenario === 'minimal'))('minimal metadata of $version tell all but labels', ({ bytes }) => {
  expect(typesOf(bytes).get('golden.orders')).toEqual(ORDERS.map((type) => (/^(enum|set)/.test(type) ? null : type)));
});
