import { describe, expect, test } from 'vitest';
import type { MariadbGtidEvent, GtidEvent } from '../../../../connectors/mysql/binlog/gtid-events.ts';
import type { QueryEvent } from '../../../../connectors/mysql/binlog/query-event.ts';
import type { TableMap } from '../../../../connectors/mysql/binlog/table-map.ts';
import { formatUuid } from '../../../../connectors/mysql/gtid-set.ts';
import { formatMariadbGtid } from '../../../../connectors/mysql/mariadb-gtid.ts';
import { type DescribedEvent, eventSpans, type GoldenLog, goldenLogs } from '../golden/golden.ts';
import { hear, type Heard } from './recorder.ts';

/** Names of the server for the events that a handler hears of, and what it hears. */
const HEARD_AS: Readonly<Record<string, string>> = {
  Format_desc: 'format', Previous_gtids: 'previousGtids', Gtid_list: 'gtidList', Gtid: 'gtid', Anonymous_Gtid: 'gtid',
  Gtid_tagged_log_event: 'gtid', Query: 'query', Query_compressed: 'query', Xid: 'xid', XA_prepare: 'xaPrepare', Table_map: 'tableMap',
  Intvar: 'context', RAND: 'context', 'User var': 'context', Annotate_rows: 'rowsStatement', Rows_query: 'rowsStatement', Rotate: 'rotate',
};
const UNHEARD = new Set(['Binlog_checkpoint', 'Transaction_payload']);

describe.each(goldenLogs().map((log) => [`${log.version} ${log.scenario}`, log] as const))('%s', (_name, log) => {
  const heard = hear(log.bytes, log.file);

  test('is heard as the server describes it', () => {
    const expected = log.events.filter(({ name }) => !UNHEARD.has(name));
    const groups = grouped(heard);
    expect(groups.map(({ first }) => (first.what === 'row' ? 'row' : first.what))).toEqual(expected.map((event) => heardAs(event, log)));
    for (const [index, { first }] of groups.entries()) checkDetail(expected[index] as DescribedEvent, first);
  });

  test('places are those of the file', () => {
    const starts = new Set(eventSpans(log.bytes).map(({ start }) => `${log.file}:${start}`));
    for (const { what, place } of heard) if (what !== 'rotate') expect(starts).toContain(place);
  });
});

function heardAs({ name }: DescribedEvent, log: GoldenLog): string {
  if (/^(Write|Update|Delete)_rows/.test(name)) return 'row';
  return name === 'Gtid' && log.isMariadb ? 'mariadbGtid' : (HEARD_AS[name] ?? `unexpected ${name}`);
}

/** Rows of one event belong together. Within a payload events share a place, but rows follow a table map. */
function grouped(heard: readonly Heard[]): { first: Heard }[] {
  const groups: { first: Heard }[] = [];
  let last: Heard | null = null;
  for (const one of heard) {
    if (one.what !== 'row' || last?.what !== 'row' || last.place !== one.place) groups.push({ first: one });
    last = one;
  }
  return groups;
}

function checkDetail({ name, info }: DescribedEvent, heard: Heard): void {
  if (!('detail' in heard)) {
    expect(name.startsWith({ write: 'Write', update: 'Update', delete: 'Delete' }[heard.kind as 'write'])).toBe(true);
    return;
  }
  const detail: unknown = heard.detail;
  if (heard.what === 'tableMap') {
    const map = detail as TableMap;
    expect(info).toBe(`table_id: ${map.id} (${map.database}.${map.table})`);
  } else if (heard.what === 'gtid') {
    const { uuid, tag, number } = detail as GtidEvent;
    const text = uuid === null ? 'ANONYMOUS' : `${formatUuid(uuid, 0)}:${tag === '' ? '' : `${tag}:`}${number}`;
    expect(info).toBe(`SET @@SESSION.GTID_NEXT= '${text}'`);
  } else if (heard.what === 'mariadbGtid') {
    const { gtid, alter, xa, standalone } = detail as MariadbGtidEvent;
    expect(info).toContain(`GTID ${formatMariadbGtid(gtid)}`);
    expect(info.includes('START ALTER')).toBe(alter === 'start');
    expect(info.includes('COMMIT ALTER')).toBe(alter === 'commit');
    expect(info.startsWith('XA START')).toBe(xa === 'prepared');
    expect(info.startsWith('BEGIN')).toBe(!standalone && xa === 'none' );
  } else if (heard.what === 'query') {
    const { database, statement } = detail as QueryEvent & { statement: string };
    // The server says `use …` where the default database matters, and the transaction of a DDL statement.
    const plain = info.replace(/ \/\* xid=\d+ \*\/$/, '').replace(/^use `(.*?)`; /, '').replace(/^set foreign_key_checks=[01]; /, '');
    expect(statement).toBe(plain);
    if (info.startsWith('use ')) expect(info).toContain(`use \`${database}\``);
  } else if (heard.what === 'rowsStatement') {
    expect(String(detail)).toBe(name === 'Rows_query' ? info.replace(/^# /, '') : info);
  }
}
