import { expect, test } from 'vitest';
import { cascadeFault, requireRowBinlog } from '../../../connectors/mysql/requirements.ts';

const needs = (settings: Readonly<Record<string, string>>, flavor: 'mysql' | 'mariadb' = 'mysql') => (): void =>
  requireRowBinlog({ server: 'x', settings: new Map(Object.entries(settings)), version: { flavor } });

test('a binlog of rows', () => {
  expect(needs({ log_bin: 'ON', binlog_format: 'ROW' })).not.toThrow('binlog');
  expect(needs({ log_bin: '1' })).not.toThrow('binlog');
  expect(needs({ log_bin: 'ON', binlog_format: 'MIXED' })).not.toThrow('binlog');
  expect(needs({ log_bin: 'ON', binlog_row_image: 'MINIMAL' })).not.toThrow('binlog');
  expect(needs({ log_bin: 'ON', binlog_row_image: 'MINIMAL' }, 'mariadb')).toThrow(expect.objectContaining({ code: 'MYSQL_ROW_IMAGE' }));
  expect(needs({ log_bin: 'OFF' })).toThrow(expect.objectContaining({ code: 'MYSQL_BINLOG_OFF' }));
  expect(needs({ log_bin: 'ON', binlog_format: 'STATEMENT' })).toThrow(expect.objectContaining({ code: 'MYSQL_BINLOG_FORMAT' }));
});

test('child tables whose changes are not in the binlog, unless they are accepted', () => {
  const cascade = { namespace: 'shop', name: 'lines', constraint: 'fk', parent: 'shop.orders', actions: ['ON DELETE CASCADE'] };
  const table = { namespace: 'shop', name: 'lines' };
  expect(cascadeFault(table, [cascade], { acceptCascades: [] })).toMatchObject({
    code: 'MYSQL_CASCADE', where: { table: 'shop.lines' }, message: expect.stringContaining('fk to shop.orders (ON DELETE CASCADE)') as unknown,
  });
  expect(cascadeFault(table, [cascade], { acceptCascades: ['shop.lines'] })).toBeNull();
  expect(cascadeFault({ ...table, name: 'orders' }, [cascade], { acceptCascades: [] })).toBeNull();
});
