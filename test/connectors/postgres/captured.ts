import type { Catalog } from '../../../contracts/catalog.ts';
import { ConnectorUnderTest } from '../../../contracts/kit/connector-kit-common.ts';
import type { ReferenceRecord } from '../../../contracts/kit/reference-log.ts';
import { readKey } from '../../../contracts/key.ts';
import { decodeControl } from '../../../contracts/control.ts';
import { decodeSchema, type TableSchema } from '../../../contracts/schema.ts';
import { isRowOp, Op, opLetter } from '../../../contracts/op.ts';
import { PLACEHOLDER, readImage, type CellValue } from '../../../contracts/row-image.ts';
import type { PostgresServer } from '../../fixtures/embedded-postgres.ts';
import { TestSource, type SourceSettings } from './source-fixture.ts';

/** A record as people read it: columns by name. */
export interface ReadableRecord {
  readonly op: string;
  readonly table: string;
  readonly flags: number;
  readonly key: readonly string[];
  readonly before: Readonly<Record<string, CellValue>> | null;
  readonly after: Readonly<Record<string, CellValue>> | null;
}

/** A real source with a stream into a log in memory. */
export class Captured implements AsyncDisposable {
  readonly source: TestSource;
  readonly test: ConnectorUnderTest;

  private constructor(source: TestSource, test: ConnectorUnderTest) {
    this.source = source;
    this.test = test;
  }

  /** Runs `setup` first, then prepares and streams, and waits until the tables there are stand in the log. */
  static async begin(server: PostgresServer, setup: string, settings: SourceSettings = {}): Promise<Captured> {
    const source = await TestSource.make(server, settings);
    const test = await ConnectorUnderTest.make(() => Promise.resolve(source));
    const captured = new Captured(source, test);
    if (setup !== '') await source.query(setup);
    const tables = await test.connector.tables(new AbortController().signal);
    await test.run();
    await captured.until((catalog) => tables.every((table) => catalog.bySourceId(table.sourceTableId) !== undefined), 'the schemas');
    return captured;
  }

  async run(sql: string): Promise<void> {
    await this.source.query(sql);
    await this.test.caughtUp();
  }

  until(ready: (catalog: Catalog) => boolean, what: string): Promise<void> {
    return this.test.until(() => ready(this.test.log.catalog()), what);
  }

  /** Everything after what `mark` gave. */
  get mark(): number {
    return this.test.log.lastOffset;
  }

  raw(after = 0): ReferenceRecord[] {
    return this.test.log.read(after);
  }

  rows(after = 0): ReadableRecord[] {
    const catalog = this.test.log.catalog();
    return this.raw(after).filter((record) => isRowOp(record.op) || record.op === Op.truncate).map((record) => {
      const schema = catalog.schemaOf(record.tableId, record.schemaVersion);
      return {
        op: opLetter(record.op),
        table: schema.name,
        flags: record.flags,
        key: readKey(Buffer.from(record.key, 'hex')).map((part) => part.toString('utf8')),
        before: cells(schema, record.before),
        after: cells(schema, record.after),
      };
    });
  }

  schemas(after = 0): TableSchema[] {
    return this.raw(after).filter((record) => record.op === Op.schema).map((record) => decodeSchema(Buffer.from(record.after, 'hex')));
  }

  controls(after = 0): unknown[] {
    return this.raw(after).filter((record) => record.op === Op.control).map((record) => decodeControl(Buffer.from(record.after, 'hex')));
  }

  schema(table: string): TableSchema {
    const schema = this.test.log.catalog().schema(this.test.tableId(table));
    if (schema === undefined) throw new Error(`no schema of ${table}`);
    return schema;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.test[Symbol.asyncDispose]();
  }
}

function cells(schema: TableSchema, image: string): Readonly<Record<string, CellValue>> | null {
  if (image === '') return null;
  const values = readImage(Buffer.from(image, 'hex'));
  if (values.length !== schema.columns.length) throw new Error(`an image of ${values.length} columns under a schema of ${schema.columns.length}`);
  return Object.fromEntries(schema.columns.map((column, index) => [column.name, values[index] ?? null]));
}

export const LEFT_OUT = PLACEHOLDER;
