import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Control, decodeControl } from '../../contracts/control.ts';
import { Op } from '../../contracts/op.ts';
import { RecordView } from '../../contracts/record.ts';
import { EmbeddedLogEngine } from '../../hub/log/embedded/engine.ts';
import { openHubStand } from '../fixtures/hub-stand.ts';
import { createTestRuntime } from '../fixtures/runtime.ts';

const ROWS = 400_000;

interface ControlAt {
  readonly offset: number;
  readonly control: Control;
}

describe('a hub that is killed in the middle of a first copy', () => {
  it('goes on with the chunks that are not in the log, and reads no other again', async () => {
    await using stand = await openHubStand({ purpose: 'copy-kill' });
    await stand.source.query(
      `CREATE TABLE rows (id int PRIMARY KEY, body text NOT NULL);
       INSERT INTO rows SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, ${ROWS}) AS i`, [], 'source');
    const data = join(stand.directory, 'data');

    const hub = await stand.start();
    await hub.until('a part is copied', ({ sources }) => (sources[0]?.highWatermark ?? 0) > ROWS / 4, 60_000);
    await hub.kill();
    const before = await controlsOf(data);
    expect(chunksOf(before).length).toBeGreaterThan(0);
    expect(before.some(({ control }) => control.type === 'copied')).toBe(false);

    await stand.start();
    await stand.source.query('UPDATE rows SET body = body || id WHERE id % 100 = 0', [], 'source');
    await stand.caughtUp();
    expect(await stand.mustBeEqual()).toBe(ROWS);
    await stand.hub.stop();
    const after = await controlsOf(data);
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after.map(({ control }) => control.type).filter((type) => type !== 'chunk')).toEqual(['copying', 'copied']);
    const chunks = chunksOf(after);
    expect(new Set(chunks.map(({ range }) => range)).size).toBe(chunks.length);
    // A row that an update moved behind its range is read there once more.
    const read = chunks.reduce((sum, { rows }) => sum + rows, 0);
    expect(read).toBeGreaterThanOrEqual(ROWS);
    expect(read).toBeLessThanOrEqual(ROWS + ROWS / 100);
  }, 180_000);
});

function chunksOf(controls: readonly ControlAt[]): Extract<Control, { type: 'chunk' }>[] {
  return controls.flatMap(({ control }) => (control.type === 'chunk' ? [control] : []));
}

/** The `h` records of a stopped hub's log, in order. */
async function controlsOf(data: string): Promise<ControlAt[]> {
  await using engine = await EmbeddedLogEngine.openReadOnly(data, createTestRuntime());
  const log = await engine.open('shop', { create: false });
  const controls: ControlAt[] = [];
  for await (const batch of log.read({ after: 0, to: log.state().highWatermark, follow: false, signal: AbortSignal.timeout(60_000) })) {
    const view = new RecordView().reset(batch.records);
    while (view.next()) if (view.op === Op.control) controls.push({ offset: batch.baseOffset + view.index, control: decodeControl(view.after()) });
  }
  return controls;
}
