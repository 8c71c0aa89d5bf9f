import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { selfSigned } from '../../fixtures/certificate.ts';
import { freePort } from '../../fixtures/ports.ts';
import { startRedis } from '../../fixtures/redis.ts';
import { temporaryDirectory } from '../../fixtures/temp.ts';
import { CacheStand } from './stand.ts';

test('over TLS, with the server verified and a client certificate', async () => {
  await using folder = await temporaryDirectory('redis-tls');
  const { certificate: cert, key } = await selfSigned(folder.path, 'redis.test');
  const port = await freePort();
  await using server = await startRedis({
    settings: { 'tls-port': port, 'tls-cert-file': cert, 'tls-key-file': key, 'tls-ca-cert-file': cert, 'tls-auth-clients': 'yes' },
  });
  const ca = await readFile(cert, 'utf8');
  const tls = { ca, cert: ca, key: await readFile(key, 'utf8'), servername: 'redis.test' };
  const at = (options: Readonly<Record<string, unknown>>) => CacheStand.at({ options: { url: `rediss://127.0.0.1:${port}`, ...options } }, [server.port]);
  await using cache = await at({ tls });
  await cache.open();
  const things = cache.table();
  for (let id = 1; id <= 5000; id++) things.insert(id, 'x'.repeat(300));
  await cache.apply();
  await cache.compare();
  for (const wrong of [{}, { ...tls, servername: 'other.test' }, { ca, servername: 'redis.test' }]) {
    await using refused = await at({ tls: wrong });
    await expect(refused.open()).rejects.toMatchObject({ code: 'SINK_UNREACHABLE' });
  }
  await using plain = await CacheStand.at({ options: { url: `redis://127.0.0.1:${port}`, timeout: '2s' } }, [server.port]);
  await expect(plain.open()).rejects.toMatchObject({ retry: 'auto' });
});
