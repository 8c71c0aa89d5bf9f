import { describe, expect, it } from 'vitest';
import { describeError, TidemarkError } from '../../../contracts/errors/error.ts';
import { tlsUse, tlsVerification } from '../../../contracts/types/postgres-tls.ts';
import { isWanted, parseAddress, passesOf } from '../../../contracts/types/postgres-address.ts';

describe('addresses', () => {
  it('have defaults', () => {
    expect(parseAddress('postgres://me@db.example/shop')).toMatchObject({
      hosts: [{ host: 'db.example', port: 5432 }], user: 'me', password: undefined, database: 'shop', sslMode: 'prefer', target: null,
      applicationName: 'tidemark',
    });
    expect(parseAddress('postgresql://me@')).toMatchObject({ hosts: [{ host: 'localhost', port: 5432 }], database: 'me' });
  });

  it('have several hosts, each with its port', () => {
    const url = 'postgres://u:p%40ss@one:5433,[2001:db8::1]:5434,three/db?target_session_attrs=primary&sslmode=verify-full&sslrootcert=/etc/ca.pem';
    expect(parseAddress(url)).toMatchObject({
      hosts: [{ host: 'one', port: 5433 }, { host: '2001:db8::1', port: 5434 }, { host: 'three', port: 5432 }],
      password: 'p@ss', target: 'primary', sslMode: 'verify-full', rootCertificate: '/etc/ca.pem',
    });
  });

  it('may have hosts and ports as parameters, and sockets', () => {
    expect(parseAddress('postgres://u@/db?host=/run/postgresql,other&port=5433').hosts).toEqual([
      { host: '/run/postgresql', port: 5433 }, { host: 'other', port: 5433 },
    ]);
    expect(parseAddress('postgres://u@/db?host=a,b&port=1,2').hosts).toEqual([{ host: 'a', port: 1 }, { host: 'b', port: 2 }]);
  });

  it.each([
    'mysql://u@h/db', 'postgres://h/db', 'postgres://u@h:0/db', 'postgres://u@h:99999/db', 'postgres://u@h/db?sslmod=verify-full',
    'postgres://u@h/db?sslmode=maybe', 'postgres://u@h/db?target_session_attrs=leader', 'postgres://u@h/%zz', 'postgres://u@h/db?connect_timeout=soon', 'postgres://u@h/db?sslrootcert=system&sslmode=require',
  ])('%s is refused', (url) => {
    expect(() => parseAddress(url)).toThrow(expect.objectContaining({ code: 'POSTGRES_URL' }));
  });

  it('are never repeated with their password', () => {
    const urls = ['postgres://u:hunter2@h/db?sslmode=hunter3', 'postgres://u:hunter2@h:x/db', 'postgres://u:hunter2%@h/db'];
    for (const url of urls) {
      try {
        parseAddress(url);
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(TidemarkError);
        expect(describeError(error)).not.toContain('hunter2');
      }
    }
  });
});

describe('target_session_attrs', () => {
  const primary = { inRecovery: false, readOnly: false };
  const servers = { primary, readOnlyPrimary: { ...primary, readOnly: true }, standby: { inRecovery: true, readOnly: true } };

  it.each([
    ['any', ['primary', 'readOnlyPrimary', 'standby']],
    ['read-write', ['primary']],
    ['read-only', ['readOnlyPrimary', 'standby']],
    ['primary', ['primary', 'readOnlyPrimary']],
    ['standby', ['standby']],
  ] as const)('%s takes %j', (target, taken) => {
    expect(Object.entries(servers).filter(([, server]) => isWanted(server, target)).map(([name]) => name)).toEqual(taken);
    expect(passesOf(target)).toEqual([target]);
  });

  it('prefer-standby looks for a standby first, then takes anything', () => {
    expect(passesOf('prefer-standby')).toEqual(['standby', 'any']);
  });
});

describe('TLS', () => {
  it.each([
    ['', 'try', 'nothing'],
    ['sslmode=disable', 'never', 'nothing'],
    ['sslmode=allow', 'never', 'nothing'],
    ['sslmode=prefer&sslrootcert=/ca', 'try', 'nothing'],
    ['sslmode=require', 'always', 'nothing'],
    ['sslmode=require&sslrootcert=/ca', 'always', 'chain'],
    ['sslmode=verify-ca&sslrootcert=/ca', 'always', 'chain'],
    ['sslmode=verify-full&sslrootcert=/ca', 'always', 'name'],
    ['sslrootcert=system', 'always', 'name'],
  ])('%s: used %s, verified %s', (parameters, use, verification) => {
    const address = parseAddress(`postgres://u@h/db?${parameters}`);
    expect([tlsUse(address), tlsVerification(address)]).toEqual([use, verification]);
  });
});
