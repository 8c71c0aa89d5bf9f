import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PositionWriter, postgresPositions } from '../../connectors/postgres/position.ts';
import { BatchBuilder } from '../../contracts/change-batch.ts';
import { encodeMessage } from '../../contracts/message.ts';
import { Op } from '../../contracts/op.ts';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';
import { temporaryDirectory } from '../fixtures/temp.ts';
import { LogAudit } from './log-audit.ts';

const at = new PositionWriter({ systemId: '1', timeline: 1 });
const NOTHING = Buffer.alloc(0);

interface Transaction {
  readonly xid: number;
  readonly lsn: number;
  readonly content?: string;
}

async function write(directory: string, transactions: readonly Transaction[]): Promise<void> {
  await using engine = await EmbeddedLogEngine.create(directory, createTestRuntime(), { segmentBytes: 600 });
  const log = await engine.open('shop', { create: true });
  await using writer = await log.openWriter(() => undefined);
  for (const { xid, lsn, content = 'x' } of transactions) {
    const builder = new BatchBuilder();
    builder.begin('source', xid, 1);
    builder.record(Op.message, 0, 0, 0, NOTHING, NOTHING, encodeMessage('p', Buffer.from(content)));
    builder.commit(at.at(lsn));
    await writer.append(builder.take());
  }
  await writer.flush();
}

/** Small segments: all but the last is folded. */
async function foldAll(directory: string): Promise<number> {
  await using engine = await EmbeddedLogEngine.create(directory, createTestRuntime(), { segmentBytes: 600 });
  const log = await engine.open('shop', { create: false });
  return await log.compact(log.state().highWatermark, { memoryBytes: 1 << 20, share: 1 }, AbortSignal.timeout(10_000));
}

describe('the audit of a log', () => {
  it('agrees with a log that only grows', async () => {
    await using folder = await temporaryDirectory('audit');
    const audit = new LogAudit(folder.path, 'shop', postgresPositions);
    await write(folder.path, [{ xid: 1, lsn: 10 }, { xid: 2, lsn: 20 }]);
    await audit.advance();
    await write(folder.path, [{ xid: 3, lsn: 30 }]);
    expect(await audit.advance()).toMatchObject({ highWatermark: 3 });
  });

  it('goes on from the base where more was folded than it has read', async () => {
    await using folder = await temporaryDirectory('audit');
    const audit = new LogAudit(folder.path, 'shop', postgresPositions);
    await write(folder.path, [{ xid: 1, lsn: 10 }]);
    await audit.advance();
    await write(folder.path, Array.from({ length: 40 }, (_, n) => ({ xid: 2 + n, lsn: 20 + n, content: 'x'.repeat(100) })));
    const horizon = await foldAll(folder.path);
    expect(horizon).toBeGreaterThan(audit.offset);
    expect(await audit.advance()).toMatchObject({ highWatermark: 41 });
    await write(folder.path, [{ xid: 50, lsn: 5 }]);
    await expect(audit.advance()).rejects.toThrow('positions go back');
  });

  it('finds a transaction that is there twice, and positions that go back', async () => {
    await using folder = await temporaryDirectory('audit');
    await write(folder.path, [{ xid: 1, lsn: 10 }, { xid: 2, lsn: 20 }, { xid: 1, lsn: 30 }]);
    await expect(new LogAudit(folder.path, 'shop', postgresPositions).advance()).rejects.toThrow('transaction 1 is in the log twice, again at offset 3');
    await using other = await temporaryDirectory('audit');
    await write(other.path, [{ xid: 1, lsn: 10 }, { xid: 2, lsn: 5 }]);
    await expect(new LogAudit(other.path, 'shop', postgresPositions).advance()).rejects.toThrow('positions go back');
  });

  it.each([
    ['a record in the middle that became another', [{ xid: 1, lsn: 10 }, { xid: 2, lsn: 20, content: 'y' }, { xid: 3, lsn: 30 }], 'has changed since it was readable'],
    ['a log that lost its end', [{ xid: 1, lsn: 10 }], 'the log ends at 1; it was read up to 3'],
  ])('finds %s', async (_name, after, finding) => {
    await using folder = await temporaryDirectory('audit');
    const audit = new LogAudit(join(folder.path, 'data'), 'shop', postgresPositions);
    await write(join(folder.path, 'data'), [{ xid: 1, lsn: 10 }, { xid: 2, lsn: 20 }, { xid: 3, lsn: 30 }]);
    await audit.advance();
    await rename(join(folder.path, 'data'), join(folder.path, 'before'));
    await write(join(folder.path, 'data'), after);
    await expect(audit.advance()).rejects.toThrow(finding);
  });
});
