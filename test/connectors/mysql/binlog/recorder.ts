import type { BinlogHandler } from '../../../../connectors/mysql/binlog/binlog-handler.ts';
import { BinlogReader } from '../../../../connectors/mysql/binlog/binlog-reader.ts';
import { ABSENT, NULL, type RowReader, type RowSpans } from '../../../../connectors/mysql/binlog/rows-event.ts';
import type { TableMap } from '../../../../connectors/mysql/binlog/table-map.ts';
import { eventSpans } from '../golden/golden.ts';

/** A value as it lies in the event: hex of its bytes, null, or undefined where it was left out. */
export type RawRow = readonly (string | null | undefined)[];

export type Heard =
  | { readonly what: string; readonly detail: unknown; readonly place: string }
  | { readonly what: 'row'; readonly kind: string; readonly map: TableMap; readonly before: RawRow | null; readonly after: RawRow | null; readonly place: string };

/** A handler that notes everything. */
export function handlerThatNotes(take: (heard: Heard) => void, place: () => string): BinlogHandler {
  const note = (what: string, detail: unknown): void => take({ what, detail, place: place() });
  return {
    formatDescription: (format) => note('format', format),
    rotate: (event) => note('rotate', event),
    previousGtids: (gtids) => note('previousGtids', gtids),
    gtidList: (gtids) => note('gtidList', gtids),
    gtid: (event) => note('gtid', event),
    mariadbGtid: (event) => note('mariadbGtid', event),
    query: (event) => note('query', { ...event, statement: event.statement.toString('utf8') }),
    loadData: (event) => note('loadData', { ...event, statement: event.statement.toString('utf8') }),
    statementContext: (event) => note('context', event),
    rowsStatement: (statement) => note('rowsStatement', statement.toString('utf8')),
    tableMap: (map) => note('tableMap', map),
    rows: (rows, map) => {
      while (rows.next()) take(heardRow(rows, map, place()));
    },
    rowsTooLarge: (map, bytes) => note('rowsTooLarge', { table: map.table, bytes }),
    xid: () => note('xid', null),
    xaPrepare: (event) => note('xaPrepare', event),
    heartbeat: (event) => note('heartbeat', event),
    incident: (event) => note('incident', event),
  };
}

export function recorder(options: { file?: string; position?: number } = {}): { reader: BinlogReader; heard: Heard[] } {
  const heard: Heard[] = [];
  const handler = handlerThatNotes((one) => void heard.push(one), () => reader.place);
  const reader: BinlogReader = new BinlogReader(handler, { ...options, maxEventBytes: 64 << 20 });
  return { reader, heard };
}

/** All of a log file. */
export function hear(bytes: Buffer, file: string): Heard[] {
  const { reader, heard } = recorder({ file });
  for (const { start, end } of eventSpans(bytes)) {
    if (reader.event(bytes, start, end) !== null) throw new Error('a payload is too large for this recorder');
  }
  return heard;
}

function heardRow(rows: RowReader, map: TableMap, place: string): Heard {
  return {
    what: 'row',
    kind: rows.kind,
    map,
    before: rows.kind === 'write' ? null : rawRow(rows.before, rows.columns),
    after: rows.kind === 'delete' ? null : rawRow(rows.after, rows.columns),
    place,
  };
}

function rawRow(spans: RowSpans, columns: number): RawRow {
  return Array.from({ length: columns }, (_, column) => {
    const start = spans.starts[column] ?? ABSENT;
    if (start === ABSENT) return undefined;
    return start === NULL ? null : spans.bytes.toString('hex', start, spans.ends[column]);
  });
}
