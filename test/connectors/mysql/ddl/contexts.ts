import type { CharsetDefaults } from '../../../../connectors/mysql/ddl/charsets.ts';
import type { SqlContext } from '../../../../connectors/mysql/ddl/context.ts';

export const MYSQL: SqlContext = { flavor: 'mysql', version: 90_704, database: 'shop', sqlMode: 0n, lowerCaseNames: false, explicitTimestamps: true };
export const MARIADB: SqlContext = { ...MYSQL, flavor: 'mariadb', version: 110_806 };
export const DEFAULTS: CharsetDefaults = { databaseCollation: 'utf8mb4_bin' };
