/** Tables as the server describes them at one moment. */
import type { TableShape } from '../ddl/shape.ts';

export interface TableRef {
  readonly namespace: string;
  readonly name: string;
}

export interface TableReading extends TableRef {
  readonly engine: string;
  /** `Dynamic`, `Compressed` …; '': not known. */
  readonly rowFormat: string;
  readonly isPartitioned: boolean;
  /** Names of columns that the user may not read. */
  readonly unreadable: readonly string[];
  readonly shape: TableShape;
}
