/** What a source must have before its stream begins: what `check` reports, as errors. */
import { TidemarkError } from '../../contracts/errors/error.ts';
import { tableName } from '../../contracts/schema.ts';
import type { Cascade } from './catalog/catalog-query.ts';
import type { TableReading, TableRef } from './catalog/table-reading.ts';
import type { ServerIdentity } from './identity.ts';
import type { MysqlOptions } from './options.ts';
import type { ServerVersion } from './server-version.ts';

/** @throws TidemarkError `MYSQL_BINLOG_OFF`, `MYSQL_BINLOG_FORMAT`, `MYSQL_ROW_IMAGE` */
export function requireRowBinlog({ settings, server, version }: Pick<ServerIdentity, 'settings' | 'server'> & { readonly version: Pick<ServerVersion, 'flavor'> }): void {
  const isOn = settings.get('log_bin') === 'ON' || settings.get('log_bin') === '1';
  if (!isOn) throw new TidemarkError('MYSQL_BINLOG_OFF', `the server ${server} writes no binlog`);
  // A server without that setting writes rows.
  const format = settings.get('binlog_format') ?? 'ROW';
  // MIXED writes rows but for statements that stop their tables when they come.
  if (format === 'STATEMENT') throw new TidemarkError('MYSQL_BINLOG_FORMAT', `binlog_format of the server ${server} is ${format}`);
  const image = settings.get('binlog_row_image') ?? 'FULL';
  if (isLossy(version, image)) throw new TidemarkError('MYSQL_ROW_IMAGE', `binlog_row_image of the server ${server} is ${image}`);
}

/** With minimal images MariaDB writes a REPLACE as an update that lacks what the new row has by default. */
export function isLossy({ flavor }: Pick<ServerVersion, 'flavor'>, image: string): boolean {
  return flavor === 'mariadb' && image.toUpperCase() === 'MINIMAL';
}

/** The same of texts and blobs alone: a database without such columns loses nothing. */
export function stopsLargeTables({ flavor }: Pick<ServerVersion, 'flavor'>, image: string): boolean {
  return flavor === 'mariadb' && image.toUpperCase() === 'NOBLOB';
}

/** Their tables hold no rows of their own, or lose them when the server restarts. */
const VOLATILE = new Set(['memory', 'heap', 'blackhole', 'federated', 'connect', 'csv', 'example', 'spider', 'oqgraph', 'sequence']);

/** Why the table's engine makes its rows come and go without the binlog, for people; null: it does not. */
export function whyVolatile({ engine }: Pick<TableReading, 'engine'>): string | null {
  const name = engine.toLowerCase();
  if (name === 'memory' || name === 'heap') return 'is a MEMORY table: it is emptied by a restart of the server';
  if (!VOLATILE.has(name) && name !== '') return null;
  return `is of the engine ${engine === '' ? 'that the server does not have' : engine}, whose changes are not all in the binlog`;
}

/**
 * Why a table cannot be captured exactly: foreign keys change it without a trace in the binlog; null: none does, or it
 * is accepted. `cascades`: of all tables, none where the server writes them (logsCascades).
 */
export function cascadeFault(table: TableRef, cascades: readonly Cascade[], options: Pick<MysqlOptions, 'acceptCascades'>): TidemarkError | null {
  const name = tableName(table);
  const own = cascades.filter((cascade) => tableName(cascade) === name);
  if (own.length === 0 || options.acceptCascades.includes(name)) return null;
  const keys = own.map(({ constraint, parent, actions }) => `${constraint} to ${parent} (${actions.join(', ')})`);
  return new TidemarkError('MYSQL_CASCADE', `foreign keys change rows of ${name} without a trace in the binlog: ${keys.join('; ')}`, { where: { table: name } });
}
