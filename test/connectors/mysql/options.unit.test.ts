import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { mysqlOptionsSchema, resolveOptions } from '../../../connectors/mysql/options.ts';

const url = 'mysql://u@h';

test('what is left out has its default', () => {
  expect(resolveOptions('shop', { url })).toEqual({
    url, passwordFile: null, serverId: null, zeroDates: 'keep', heartbeatMs: 10_000, maxRowBytes: 256 * 2 ** 20, acceptCascades: [],
  });
});

test('what is given counts', () => {
  const given = { url, password_file: '/p', server_id: 77, zero_dates: 'refuse', heartbeat: '3s', max_row_size: 2 ** 20, accept_cascades: ['shop.lines'] };
  expect(resolveOptions('shop', given)).toEqual({
    url, passwordFile: '/p', serverId: 77, zeroDates: 'refuse', heartbeatMs: 3000, maxRowBytes: 2 ** 20, acceptCascades: ['shop.lines'],
  });
  const { url: _url, ...own } = given;
  const ajv = new Ajv({ strict: false });
  expect(ajv.validate(mysqlOptionsSchema, own), ajv.errorsText()).toBe(true);
});

test.each([
  [{ url: 7 }, 'MYSQL_URL'], [{ url, server_id: 0 }, 'CONFIG_VALUE'], [{ url, server_id: '7' }, 'CONFIG_VALUE'], [{ url, zero_dates: 'null' }, 'CONFIG_VALUE'],
  [{ url, heartbeat: 'often' }, 'CONFIG_VALUE'], [{ url, max_row_size: 'big' }, 'CONFIG_VALUE'], [{ url, accept_cascades: 'a.b' }, 'CONFIG_VALUE'],
  [{ url, password_file: 7 }, 'CONFIG_VALUE'],
])('refuses %j', (options, code) => {
  expect(() => resolveOptions('shop', options)).toThrow(expect.objectContaining({ code }));
});
