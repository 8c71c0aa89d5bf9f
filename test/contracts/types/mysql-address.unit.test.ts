import { expect, test } from 'vitest';
import { formatMysqlHost, parseMysqlAddress } from '../../../contracts/types/mysql-address.ts';

const refused: unknown = expect.objectContaining({ code: 'MYSQL_URL' });

test('the parts of an address, with what is left out filled in', () => {
  expect(parseMysqlAddress('mysql://repl@db')).toEqual({
    hosts: [{ host: 'db', port: 3306, socket: null }], user: 'repl', password: undefined, database: '', sslMode: 'preferred', sslCa: undefined, sslCert: undefined,
    sslKey: undefined, serverPublicKey: undefined, takesPublicKey: false, connectTimeoutMs: 15_000,
  });
  expect(parseMysqlAddress(
    'mariadb://re%40pl:s%3Acret@db1,[::1]:3307/sh%20op?ssl_mode=VERIFY-IDENTITY&ssl-ca=/a/ca.pem&ssl-cert=/a/c.pem&ssl-key=/a/k.pem&connect-timeout=3&get-server-public-key&server-public-key=/p',
  )).toEqual({
    hosts: [{ host: 'db1', port: 3306, socket: null }, { host: '::1', port: 3307, socket: null }], user: 're@pl', password: 's:cret', database: 'sh op',
    sslMode: 'verify_identity', sslCa: '/a/ca.pem', sslCert: '/a/c.pem', sslKey: '/a/k.pem', serverPublicKey: '/p', takesPublicKey: true, connectTimeoutMs: 3000,
  });
});

test('user and password as parameters, and a socket in place of hosts', () => {
  const address = parseMysqlAddress('mysql:///shop?user=u&password=p%26q&socket=/run/mysqld.sock');
  expect(address).toMatchObject({ user: 'u', password: 'p&q', database: 'shop', hosts: [{ socket: '/run/mysqld.sock' }] });
  expect(address.hosts.map(formatMysqlHost)).toEqual(['/run/mysqld.sock']);
  expect(parseMysqlAddress('mysql://u@[fe80::1]').hosts.map(formatMysqlHost)).toEqual(['[fe80::1]:3306']);
});

test('a certificate authority means that the certificate is checked', () => {
  expect(parseMysqlAddress('mysql://u@h?ssl-ca=/ca').sslMode).toBe('verify_ca');
  expect(() => parseMysqlAddress('mysql://u@h?ssl-ca=/ca&ssl-mode=required')).toThrow(refused);
});

test.each([
  'postgres://u@h', 'mysql://h', 'mysql://u@h:0', 'mysql://u@h:65536', 'mysql://u@h:x', 'mysql://u@h?sslmode=required', 'mysql://u@h?ssl-mode=yes',
  'mysql://u@h?connect-timeout=0', 'mysql://u@h?get-server-public-key=maybe', 'mysql://u%@h', 'mysql://u@h/a/b', 'mysql://u@h/a#b',
])('refuses %s', (url) => {
  expect(() => parseMysqlAddress(url)).toThrow(refused);
});

test('the password is never told', () => {
  for (const url of ['mysql://u:s3cret@h:99999', 'mysql://:s3cret@h', 'mysql://u:s3cret%@h', 'mysql://u:s3cret@h?x=y']) {
    expect(() => parseMysqlAddress(url)).toThrow(expect.objectContaining({ message: expect.not.stringContaining('s3cret') as unknown }));
  }
});
