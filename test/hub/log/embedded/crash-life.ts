/** A log on a simulated disk, from its birth to a crash: what the tests of the crash cases share. */
import { BatchBuilder } from '../../../../contracts/change-batch.ts';
import { readAll } from '../../../../contracts/kit/log-engine-kit-common.ts';
import { transactionBatch } from '../../../../contracts/kit/log-workload.ts';
import type { LogWriter, SourceLog } from '../../../../contracts/log-engine.ts';
import { Op } from '../../../../contracts/op.ts';
import { EmbeddedLogEngine, type EmbeddedEngineOptions } from '../../../../hub/log/embedded/engine.ts';
import { decodeManifest } from '../../../../hub/log/embedded/manifest.ts';
import { FaultyFiles } from '../../../fixtures/faulty-files.ts';
import { createTestRuntime, seededRandom, SimulatedClock } from '../../../fixtures/runtime.ts';
import { noLock } from './no-lock.ts';

export const FOLDER = '/data/log/shop';
export const NONE = Buffer.alloc(0);

export const segment = (number: number): string => `${FOLDER}/${String(number).padStart(10, '0')}.segment`;
export const index = (number: number): string => `${FOLDER}/${String(number).padStart(10, '0')}.index`;
/** Bytes of the first segment without the zeros ahead. */
export const written = (files: FaultyFiles): number => files.bytes(segment(1)).findLastIndex((byte) => byte !== 0) + 1;
export const manifestOf = (files: FaultyFiles) => decodeManifest(files.bytes(`${FOLDER}/manifest`), 'manifest');

export interface Life {
  readonly files: FaultyFiles;
  readonly clock: SimulatedClock;
  readonly engine: EmbeddedLogEngine;
  readonly log: SourceLog;
}

export async function open(files: FaultyFiles, options: EmbeddedEngineOptions = {}, seed = 1): Promise<Life> {
  const clock = new SimulatedClock();
  const engine = await EmbeddedLogEngine.create('/data', createTestRuntime({ files, clock, seed }), { lock: noLock, ...options });
  return { files, clock, engine, log: await engine.open('shop', { create: true }) };
}

export async function born(options: EmbeddedEngineOptions = {}): Promise<Life & { writer: LogWriter }> {
  const life = await open(new FaultyFiles(seededRandom(1)), options);
  return { ...life, writer: await life.log.openWriter(() => undefined) };
}

/** Transactions of two rows each, every one durable before the next. */
export async function appendDurable(writer: LogWriter, from: number, to: number): Promise<void> {
  for (let position = from; position <= to; position++) {
    await writer.append(transactionBatch({ rows: 2, position, schema: position === 1 }));
    await writer.flush();
  }
}

export const offsets = async (log: SourceLog): Promise<number[]> => (await readAll(log, 0)).records.map((record) => record.offset);
export const upTo = (last: number): number[] => Array.from({ length: last }, (_, at) => at + 1);

/** A batch that leaves its transaction open. */
export function halfTransaction(rows: number): ReturnType<BatchBuilder['take']> {
  const builder = new BatchBuilder(1024);
  builder.begin('source', 99, 99);
  for (let row = 0; row < rows; row++) builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('half'));
  return builder.take();
}

/** A batch in the middle of a transaction. */
export function moreOf(rows: number): ReturnType<BatchBuilder['take']> {
  const builder = new BatchBuilder(1024);
  builder.begin('source', 99, 99);
  builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('half'));
  builder.take();
  for (let row = 0; row < rows; row++) builder.record(Op.message, 0, 0, 0, NONE, NONE, Buffer.from('half'));
  return builder.take();
}
