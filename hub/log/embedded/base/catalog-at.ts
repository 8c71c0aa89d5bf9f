import { Catalog } from '../../../../contracts/catalog.ts';
import { TidemarkError } from '../../../../contracts/errors/error.ts';
import { MAX_OFFSET, type Offset } from '../../../../contracts/offset.ts';
import { Op } from '../../../../contracts/op.ts';
import { RecordView } from '../../../../contracts/record.ts';
import { readError } from '../disk-error.ts';
import type { LogCore, LogView } from '../log-core.ts';
import type { Base } from '../manifest.ts';
import { readLog } from '../reading/reader.ts';
import { decodeIndex } from '../segments/segment-index.ts';
import { decodeCatalog } from './base-files.ts';
import { pinHorizon } from './pins.ts';

/**
 * The catalog as of an offset at or above the horizon: that of the base, and the `s` and `h` records after it, which the
 * indexes of sealed segments repeat.
 * @throws TidemarkError `LOG_BELOW_HORIZON`, `LOG_CORRUPT`, `LOG_READ_FAILED`, `ABORTED`
 */
export async function catalogAt(core: LogCore, offset: Offset, signal: AbortSignal): Promise<Catalog> {
  for (;;) {
    using _pin = await pinHorizon(core);
    const { view } = core;
    if (offset < view.horizon) {
      throw new TidemarkError('LOG_BELOW_HORIZON', `the state at offset ${offset} was asked for; the horizon is ${view.horizon}`, { where: { source: core.source, offset } });
    }
    try {
      return await catalogIn(core, view, offset, signal);
    } catch (error) {
      // The horizon was forced past the pin.
      if (core.view.horizon === view.horizon || core.closed) throw error;
    }
  }
}

async function catalogIn(core: LogCore, { base, horizon, segments }: LogView, offset: Offset, signal: AbortSignal): Promise<Catalog> {
  const catalog = base === null ? new Catalog() : await readBaseCatalog(core, base);
  const view = new RecordView();
  let done = horizon;
  for (const segment of segments) {
    if (segment.state !== 'sealed' || segment.base > offset) break;
    const controls = await storedControls(core, segment.number);
    if (controls === null) break;
    for (const control of controls) {
      if (control.offset > horizon && control.offset <= offset) catalog.apply(view.seek(control.record, 0), control.offset);
    }
    done = segment.last;
  }
  if (done >= offset) return catalog;
  for await (const batch of readLog(core, { after: done, to: Math.min(offset, MAX_OFFSET), follow: false, signal })) {
    for (view.reset(batch.records); view.next(); ) {
      if (view.op === Op.schema || view.op === Op.control) catalog.apply(view, batch.baseOffset + view.index);
    }
  }
  return catalog;
}

async function readBaseCatalog(core: LogCore, base: Base): Promise<Catalog> {
  const path = core.catalogPath(base.catalog);
  try {
    return decodeCatalog(await core.files.readFile(path), path, base.catalogCrc).catalog;
  } catch (error) {
    throw readError(error, { source: core.source, file: path });
  }
}

async function storedControls(core: LogCore, number: number): Promise<readonly { offset: Offset; record: Buffer }[] | null> {
  const path = core.indexPath(number);
  try {
    return (await core.files.exists(path)) ? (decodeIndex(await core.files.readFile(path), number)?.controls ?? null) : null;
  } catch (error) {
    throw readError(error, { source: core.source, file: path });
  }
}
