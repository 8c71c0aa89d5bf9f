/** Servers without a server, for what is decided without asking. */
import { parseVersion } from '../../../../contracts/types/mysql-version.ts';
import type { ReplicaServer } from '../../../../sinks/mysql/types/replica-server.ts';

const COMMON = [
  ['utf8mb4_bin', 'utf8mb4'], ['utf8mb4_general_ci', 'utf8mb4'], ['utf8mb4_unicode_ci', 'utf8mb4'], ['utf8mb4_unicode_520_ci', 'utf8mb4'], ['latin1_swedish_ci', 'latin1'],
  ['latin1_bin', 'latin1'], ['latin1_german2_ci', 'latin1'], ['utf8mb3_general_ci', 'utf8mb3'], ['utf8mb3_bin', 'utf8mb3'], ['ascii_general_ci', 'ascii'], ['ascii_bin', 'ascii'],
] as const;

const MYSQL_ONLY = [['utf8mb4_0900_bin', 'utf8mb4'], ['utf8mb4_0900_ai_ci', 'utf8mb4'], ['utf8mb4_0900_as_cs', 'utf8mb4'], ['utf8mb4_0900_as_ci', 'utf8mb4'], ['gb18030_chinese_ci', 'gb18030']] as const;
const MARIADB_ONLY = [['utf8mb4_nopad_bin', 'utf8mb4'], ['utf8mb4_uca1400_ai_ci', 'utf8mb4'], ['utf8mb4_uca1400_nopad_ai_ci', 'utf8mb4'], ['utf8mb4_uca1400_nopad_as_cs', 'utf8mb4'], ['latin1_nopad_bin', 'latin1']] as const;

export const MYSQL: ReplicaServer = { version: parseVersion('9.7.0'), collations: new Map([...COMMON, ...MYSQL_ONLY]), indexBytes: 3_072 };
export const MARIADB: ReplicaServer = { version: parseVersion('11.8.6-MariaDB'), collations: new Map([...COMMON, ...MARIADB_ONLY]), indexBytes: 3_072 };
/** Before 8.0.17: without a collation of bytes that counts blanks. */
export const OLD_MYSQL: ReplicaServer = { version: parseVersion('8.0.15'), collations: new Map([...COMMON, ['utf8mb4_0900_ai_ci', 'utf8mb4']]), indexBytes: 3_072 };
