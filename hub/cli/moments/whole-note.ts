import type { CliContext } from '../context.ts';
import { note } from '../context.ts';
import type { ShapeJson } from '../../api/moments/schemas.ts';
import { momentText } from './change-text.ts';

/** Says on standard error where the log's table may be another than the source's was. */
export async function warnUnlessWhole(shapes: readonly (ShapeJson | null)[], context: CliContext): Promise<void> {
  const dropped = Math.max(0, ...shapes.map((shape) => shape?.rowsAfter ?? 0));
  if (dropped > 0) await note(context, `rows that were last changed at offset ${dropped} or before have been dropped: the table is kept for a window of time`);
  for (const shape of shapes) {
    if (shape === null || shape.consistent) continue;
    await note(context, `${shape.table} at ${momentText(shape)}: not known to equal the source's table there (\`tidemark tables\` shows where it is)`);
  }
}
