import { join } from 'node:path';
import { TidemarkError } from '../../contracts/errors/error.ts';
import type { Offset } from '../../contracts/offset.ts';
import type { Runtime } from '../../contracts/runtime.ts';
import type { SinkPipeline } from '../pipeline/sink/sink-pipeline.ts';
import type { SourcePipeline } from '../pipeline/source/source-pipeline.ts';
import type { PrintPosition } from '../print-position.ts';
import type { VerifyParts, VerifySource } from './places.ts';

export interface HubPlaces {
  readonly pipeline: SinkPipeline;
  /** Null: it has not been opened. */
  readonly source: SourcePipeline | null;
  readonly runtime: Runtime;
  readonly data: string;
  readonly printPosition: PrintPosition;
}

/** What a running hub gives a verification of one of its sinks. */
export function hubParts({ pipeline, source, runtime, data, printPosition }: HubPlaces): VerifyParts {
  const { config, sink, log } = pipeline;
  return {
    config, sink, log, runtime, printPosition,
    letters: () => pipeline.letters.list(),
    source: source === null ? null : sourceOf(source),
    worker: pipeline,
    directory: join(data, 'sinks', encodeURIComponent(config.name), 'verify'),
    leases: true,
  };
}

function sourceOf(source: SourcePipeline): VerifySource {
  return {
    async snapshot(tables, signal) {
      const { connector, config } = source;
      if (connector.snapshot === undefined) {
        throw new TidemarkError('VERIFY_SOURCE', 'a source of this type cannot be read beside its stream', { where: { source: config.name } });
      }
      return connector.snapshot(tables, signal);
    },
    passed: (passed, signal) => source.unlessFailed((either) => source.come(passed, either), signal),
    recopied: (tableId, signal): Promise<Offset> => source.unlessFailed((either) => source.recopied(tableId, either), signal),
  };
}
