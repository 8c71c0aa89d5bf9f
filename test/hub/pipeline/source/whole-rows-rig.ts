import { join } from 'node:path';
import { BatchBuilder, type ChangeBatch } from '../../../../contracts/change-batch.ts';
import { Catalog } from '../../../../contracts/catalog.ts';
import { encodeControl, type Control } from '../../../../contracts/control.ts';
import type { LogWriter, SourceLog } from '../../../../contracts/log-engine.ts';
import { Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { encodeSchema, type TableSchema } from '../../../../contracts/schema.ts';
import { EmbeddedLogEngine } from '../../../../hub/log/embedded/engine.ts';
import { WholeRows } from '../../../../hub/pipeline/source/whole-rows/whole-rows.ts';
import { createTestRuntime } from '../../../fixtures/runtime.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../../fixtures/temp.ts';
import { MODEL_SCHEMA } from './copy-model.ts';
import { positionOf } from './numbered-positions.ts';

const NONE = Buffer.alloc(0);

/** A log with its writer and its index, as the capture pipeline uses them. */
export class Rig implements AsyncDisposable {
  readonly directory: TemporaryDirectory;
  catalog = new Catalog();
  #engine: EmbeddedLogEngine | null = null;
  #writer: LogWriter | null = null;
  #rows: WholeRows | null = null;
  log!: SourceLog;
  #position = 0;

  constructor(directory: TemporaryDirectory) {
    this.directory = directory;
  }

  static async start(schema: TableSchema = MODEL_SCHEMA, state: 'consistent' | 'copying' = 'consistent'): Promise<Rig> {
    const rig = new Rig(await temporaryDirectory('whole-rows'));
    await rig.open();
    await rig.append((builder) => builder.record(Op.schema, 0, 1, schema.version, NONE, NONE, encodeSchema(schema)));
    await rig.control({ type: 'copying', reason: 'first', copyState: '' });
    if (state === 'consistent') await rig.control({ type: 'copied', rows: 0 });
    return rig;
  }

  async open(): Promise<void> {
    const runtime = createTestRuntime();
    this.#engine = await EmbeddedLogEngine.create(this.directory.path, runtime);
    this.log = await this.#engine.open('shop', { create: true });
    this.#rows = await WholeRows.open({ directory: join(this.directory.path, 'index'), files: runtime.files, log: this.log, logger: runtime.logger });
    this.#writer = await this.log.openWriter(() => undefined);
    await this.#rows.rolledBack(this.#writer.start.highWatermark);
    this.catalog = this.log.catalog();
  }

  async close(): Promise<void> {
    await this.#rows?.[Symbol.asyncDispose]();
    await this.#writer?.[Symbol.asyncDispose]();
    await this.#engine?.[Symbol.asyncDispose]();
    this.#rows = this.#writer = this.#engine = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    await this.directory[Symbol.asyncDispose]();
  }

  get rows(): WholeRows {
    if (this.#rows === null) throw new Error('not open');
    return this.#rows;
  }

  /** One transaction; what was appended. */
  append(build: (builder: BatchBuilder) => void, kind: 'source' | 'hub' = 'source'): Promise<ChangeBatch> {
    const builder = new BatchBuilder(1 << 14);
    builder.begin(kind, 1, 0);
    build(builder);
    builder.commit(positionOf(++this.#position));
    return this.write(builder.take());
  }

  /** One transaction, a batch for each; what was appended. */
  async appendInPieces(builds: readonly ((builder: BatchBuilder) => void)[], kind: 'source' | 'hub'): Promise<ChangeBatch[]> {
    const builder = new BatchBuilder(1 << 14);
    const appended: ChangeBatch[] = [];
    builder.begin(kind, 1, 0);
    for (const [index, build] of builds.entries()) {
      build(builder);
      if (index === builds.length - 1) builder.commit(positionOf(++this.#position));
      appended.push(await this.write(builder.take()));
    }
    return appended;
  }

  async write(batch: ChangeBatch): Promise<ChangeBatch> {
    if (this.#writer === null) throw new Error('not open');
    const complete = await this.rows.complete(batch, this.catalog);
    const { baseOffset } = await this.#writer.append(complete);
    const placed = complete.placedAt(baseOffset);
    this.rows.appended(placed);
    const view = new RecordView();
    for (view.reset(placed.records); view.next(); ) this.catalog.apply(view, baseOffset + view.index);
    return placed;
  }

  async rollback(): Promise<void> {
    if (this.#writer === null) throw new Error('not open');
    await this.rows.rolledBack(await this.#writer.rollback());
  }

  async flush(): Promise<void> {
    await this.#writer?.flush();
  }

  control(control: Control): Promise<ChangeBatch> {
    return this.append((builder) => builder.record(Op.control, 0, 1, 0, NONE, NONE, encodeControl(control)), 'hub');
  }
}
