import type { Catalog } from '../../../../contracts/catalog.ts';
import { ImageWalker } from '../../../../contracts/row-image.ts';
import { EntryKind, ValueView } from '../base/base-entry.ts';
import type { BaseRun } from '../manifest.ts';
import { rowFault } from './record-check.ts';
import type { EntryFault } from './run-check.ts';

/**
 * What is odd about an entry of a run of the base: its offset, its table, its columns, its key.
 * @param catalog as of the horizon
 */
export function baseEntryFault(catalog: Catalog, { after, to }: Pick<BaseRun, 'after' | 'to'>): EntryFault {
  const value = new ValueView();
  const image = new ImageWalker();
  return ({ tableId, bytes, keyStart, keyEnd, valueEnd }) => {
    const { kind, offset, version, imageStart, imageEnd } = value.read(bytes, keyEnd, valueEnd);
    if (offset <= after || offset > to) return `an entry is of an offset outside of (${after}, ${to}]`;
    const table = catalog.table(tableId);
    if (table === undefined) return 'an entry is of a table that the catalog does not know';
    if (kind === EntryKind.emptied) return keyEnd === keyStart ? null : 'an entry that empties a table has a key';
    const schema = table.versions[version - 1]?.schema;
    if (schema === undefined) return 'an entry is of a version that the catalog does not know';
    const isBag = kind === EntryKind.bag;
    if (isBag !== (schema.keyKind === 'none')) return isBag ? 'an entry of a table with a key is a row without one' : 'an entry of a table without a key has one';
    if (kind === EntryKind.deleted) return null;
    if (isBag) return rowFault(image, schema, { bytes, keyStart, keyEnd: keyStart, afterStart: keyStart, afterEnd: keyEnd }, true);
    return rowFault(image, schema, { bytes, keyStart, keyEnd, afterStart: imageStart, afterEnd: imageEnd }, true);
  };
}
