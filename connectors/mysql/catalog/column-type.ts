import { mysqlType, type MysqlType } from '../../../contracts/types/mysql-types.ts';
import { charsetOfCollation } from '../ddl/charsets.ts';
import type { ColumnShape } from '../ddl/shape.ts';

/** The type of a column, taken apart. */
export function typeOfColumn({ type, collation, json }: Pick<ColumnShape, 'type' | 'collation' | 'json'>): MysqlType {
  return mysqlType({ columnType: type, charset: collation === null ? null : charsetOfCollation(collation), collation, isJson: json });
}
