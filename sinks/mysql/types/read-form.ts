/** How a replica's column is read back as the log has it. */
import { FLOAT_TEXT, writeFloat32, writeFloat64 } from '../../../contracts/types/float-text.ts';
import { baseType, type LogicalType } from '../../../contracts/types/logical-type.ts';
import { isBinary, isGeometry, isInteger, isTemporal, type MysqlType } from '../../../contracts/types/mysql-types.ts';

export interface ReadForm {
  /**
   * The expression to select, under the settings of replica-server.ts and `character_set_results = utf8mb4`, in the text protocol.
   * @param column quoted, with its table where that is needed
   */
  readonly select: (column: string) => string;
  /** Makes canonical text of what was selected; null: it is that already. */
  readonly read: ((value: Buffer) => Buffer) | null;
  /** A cell of bytes, not of text. */
  readonly isBytes: boolean;
  /** Every value that the column takes comes back byte for byte; otherwise as the replica has it (`1.5` for `1.50`). */
  readonly exact: boolean;
}

const TEXT = { read: null, isBytes: false, exact: true } as const;

type Select = ReadForm['select'];

const asIs: Select = (column) => column;
const boolSelect: Select = (column) => `(CASE ${column} WHEN 0 THEN 'f' WHEN 1 THEN 't' ELSE ${column} END)`;
const asNumber: Select = (column) => `(${column} + 0)`;
/** The text of a float, and of either with digits in its definition, is rounded. */
const asDouble: Select = (column) => `(${column} * 1e0)`;

export function readForm(logical: LogicalType, target: MysqlType): ReadForm {
  const base = baseType(logical);
  const { name } = target;
  if (isInteger(name)) return { ...TEXT, select: base.kind === 'bool' ? boolSelect : asNumber };
  if (isTemporal(name)) return { ...TEXT, select: name === 'date' ? asIs : temporalSelect(target.digits ?? 0, base.kind === 'timestamptz') };
  if (isGeometry(name)) return { ...TEXT, select: geometrySelect };
  if (name === 'year') return { ...TEXT, select: asNumber };
  if (name === 'decimal') return decimalForm(base, target);
  if (name === 'float') return { ...TEXT, select: asDouble, read: base.kind === 'float64' ? doubleText : floatText, exact: base.kind === 'float32' };
  if (name === 'double') return { ...TEXT, select: asDouble, read: base.kind === 'float32' ? floatText : doubleText };
  if (name === 'bit') return { ...TEXT, select: (column) => `LPAD(BIN(${column} + 0), ${target.length ?? 1}, '0')` };
  return name === 'vector' ? { ...TEXT, select: asIs, read: vectorText } : stringForm(logical, target);
}

/** A column without a scale at the source has a fixed one here: the zeros at the end are not the value's. */
function decimalForm(base: LogicalType, { digits }: MysqlType): ReadForm {
  const scale = digits ?? 0;
  if (base.kind === 'decimal' && (base.scale === null || base.scale !== scale)) {
    const bare: Select = scale === 0 ? asNumber : (column) => withoutZeros(`(${column} + 0)`);
    return { ...TEXT, select: bare, exact: base.scale !== null && base.scale <= 0 && scale === 0 };
  }
  return { ...TEXT, select: asNumber, exact: base.kind !== 'decimal' || base.scale === scale };
}

function stringForm(logical: LogicalType, target: MysqlType): ReadForm {
  const exact = target.name !== 'json' && target.name !== 'char' && target.name !== 'binary';
  if (isBinary(target.name)) {
    if (logical.kind === 'bytes') return { select: asIs, read: null, isBytes: true, exact };
    if (baseType(logical).kind === 'bytes') return { select: (column) => `CONCAT('\\\\x', LOWER(HEX(${column})))`, read: null, isBytes: false, exact };
    return { select: asIs, read: null, isBytes: false, exact };
  }
  const isUtf8 = target.charset === null || target.charset === 'utf8mb4';
  return { select: isUtf8 ? asIs : (column) => `CONVERT(${column} USING utf8mb4)`, read: null, isBytes: false, exact };
}

function withoutZeros(text: string): string {
  return `TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM ${text}))`;
}

function temporalSelect(digits: number, zoned: boolean): Select {
  return (column) => {
    const text = digits === 0 ? `CAST(${column} AS CHAR)` : withoutZeros(`CAST(${column} AS CHAR)`);
    return zoned ? `CONCAT(${text}, '+00')` : text;
  };
}

/** Hexadecimal EWKB of what the column stores: SRID, then WKB, whose axes the functions for WKB would turn round. */
const geometrySelect: Select = (column) => {
  const hex = `HEX(${column})`;
  return `IF(LEFT(${hex}, 8) = '00000000', SUBSTR(${hex}, 9), CONCAT(SUBSTR(${hex}, 9, 8), '20', LEFT(${hex}, 8), SUBSTR(${hex}, 19)))`;
};

function floatText(text: Buffer): Buffer {
  const into = Buffer.allocUnsafe(FLOAT_TEXT);
  return into.subarray(0, writeFloat32(into, 0, Math.fround(Number(text.toString('latin1')))));
}

function doubleText(text: Buffer): Buffer {
  const into = Buffer.allocUnsafe(FLOAT_TEXT);
  return into.subarray(0, writeFloat64(into, 0, Number(text.toString('latin1'))));
}

function vectorText(value: Buffer): Buffer {
  const count = Math.floor(value.length / 4);
  const into = Buffer.allocUnsafe(2 + count * (FLOAT_TEXT + 1));
  let at = 0;
  into[at++] = 0x5b;
  for (let index = 0; index < count; index++) {
    if (index > 0) into[at++] = 0x2c;
    at = writeFloat32(into, at, value.readFloatLE(4 * index));
  }
  into[at++] = 0x5d;
  return into.subarray(0, at);
}
