import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NEVER } from '../../../contracts/kit/connector-kit-common.ts';
import { startPostgres, type PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { emptyCatalog, TestSource } from './source-fixture.ts';

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
});

const SSL_REQUEST = 80_877_103;
const KEY_DATA = Buffer.from([0x4b, 0, 0, 0, 12]);

interface Manner {
  /** The startup parameters as they are passed on, or what is answered instead. */
  startup?(parameters: Map<string, string>): Map<string, string> | string;
  /** The process that it names is one of its own. */
  readonly ownPid?: boolean;
}

/** Something in front of a server that reads the startup message, as poolers do. */
async function startPooler(target: number, manner: Manner): Promise<AsyncDisposable & { readonly port: number }> {
  const listener = createServer((client) => {
    client.on('error', () => undefined);
    client.once('data', function first(message: Buffer) {
      if (message.readInt32BE(4) === SSL_REQUEST) {
        client.write('N');
        client.once('data', first);
        return;
      }
      const parts = message.toString('utf8', 8).split('\0');
      const parameters = new Map<string, string>();
      for (let at = 0; at + 1 < parts.length && parts[at] !== ''; at += 2) parameters.set(parts[at] ?? '', parts[at + 1] ?? '');
      const passed = manner.startup?.(parameters) ?? parameters;
      if (typeof passed === 'string') {
        client.end(errorResponse(passed));
        return;
      }
      const upstream = connect(target, '127.0.0.1');
      upstream.on('error', () => client.destroy());
      upstream.on('close', () => client.destroy());
      client.on('close', () => upstream.destroy());
      const text = Buffer.from(`${[...passed].flat().join('\0')}\0\0`);
      const head = Buffer.alloc(8);
      head.writeInt32BE(8 + text.length, 0);
      message.copy(head, 4, 4, 8);
      upstream.write(Buffer.concat([head, text]));
      upstream.on('data', (bytes: Buffer) => {
        const at = manner.ownPid === true ? bytes.indexOf(KEY_DATA) : -1;
        if (at >= 0) bytes.writeInt32BE(7, at + KEY_DATA.length);
        client.write(bytes);
      });
      client.on('data', (bytes: Buffer) => upstream.write(bytes));
    });
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address() as AddressInfo;
  return {
    port: address.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await once(listener, 'close');
    },
  };
}

function errorResponse(message: string): Buffer {
  const body = Buffer.from(`SFATAL\0VFATAL\0C08P01\0M${message}\0\0`);
  const head = Buffer.from([0x45, 0, 0, 0, 0]);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

async function behind(manner: Manner): Promise<{ source: TestSource; owned: AsyncDisposableStack }> {
  const owned = new AsyncDisposableStack();
  const pooler = owned.use(await startPooler(server.port, manner));
  const source = owned.use(await TestSource.make(server, { url: (database) => `postgres://postgres@127.0.0.1:${pooler.port}/${database}` }));
  await source.query('CREATE TABLE t (id int PRIMARY KEY)');
  return { source, owned };
}

const NOT_THE_POOLER: unknown = expect.stringContaining('not of the pooler');
const POOLER: unknown = expect.objectContaining({ code: 'POSTGRES_POOLER', retry: 'operator' });

describe('a connection pooler in front of the server', () => {
  it.each<[string, Manner]>([
    ['refuses the settings of a session', { startup: (parameters) => (parameters.has('options') ? 'unsupported startup parameter in options: datestyle' : parameters) }],
    ['drops them', { startup: (parameters) => new Map([...parameters].filter(([name]) => name !== 'options')) }],
  ])('that %s is told apart from a server that does not answer', async (_what, manner) => {
    const { source, owned } = await behind(manner);
    await using _ = owned;
    await using connector = source.connector();
    await expect(connector.check(NEVER)).rejects.toThrow(POOLER);
    await expect(connector.prepare({ position: null, catalog: emptyCatalog() }, NEVER)).rejects.toThrow(POOLER);
  });

  it('that lets settings through is found by check', async () => {
    const { source, owned } = await behind({
      ownPid: true,
      startup: (parameters) => (parameters.has('replication') ? 'unsupported startup parameter: replication' : parameters),
    });
    await using _ = owned;
    await using connector = source.connector();
    const findings = await connector.check(NEVER);
    expect(findings).toContainEqual(expect.objectContaining({ severity: 'warning', code: 'pooler' }));
    expect(findings).toContainEqual(expect.objectContaining({ severity: 'error', code: 'replication', remedy: NOT_THE_POOLER }));
    await connector.prepare({ position: null, catalog: emptyCatalog() }, NEVER);
    await expect(connector.stream({ position: null, catalog: emptyCatalog() }, NEVER)[Symbol.asyncIterator]().next()).rejects.toThrow(POOLER);
  });

  it('is not seen where there is none', async () => {
    await using source = await TestSource.make(server);
    await using connector = source.connector();
    const codes = (await connector.check(NEVER)).map(({ severity, code }) => `${severity} ${code}`);
    expect(codes).toContain('ok replication');
    expect(codes).not.toContain('warning pooler');
  });
});
