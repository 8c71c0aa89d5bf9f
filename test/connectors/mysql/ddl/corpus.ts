/** Statements that are run on real servers, one after the other; each begins where the one before has left the table `t`. */
export interface Chain {
  readonly create: string;
  readonly alters: readonly string[];
  /** Where it can be run; default: everywhere. */
  readonly only?: 'mysql' | 'mariadb';
  /** Of the server, as in SqlContext. */
  readonly from?: number;
  readonly sqlMode?: string;
  /** `explicit_defaults_for_timestamp`; default: on. */
  readonly explicitTimestamps?: boolean;
}

const ORDERS = `CREATE TABLE t (
  id int NOT NULL AUTO_INCREMENT, a int, b varchar(20) NOT NULL DEFAULT 'x', c text, d decimal(10,2) DEFAULT '1.5',
  PRIMARY KEY (id), UNIQUE KEY ub (b), KEY ka (a, b(5)))`;

const COLUMNS: readonly Chain[] = [
  {
    create: ORDERS,
    alters: [
      'ALTER TABLE t ADD COLUMN e int',
      'ALTER TABLE t ADD f bigint unsigned NOT NULL DEFAULT 7 FIRST',
      'ALTER TABLE t ADD COLUMN g char(3) AFTER a, ADD COLUMN h char(3) AFTER g, ADD i char(3) AFTER g',
      'ALTER TABLE t ADD COLUMN (j int, k int NOT NULL)',
      'ALTER TABLE t DROP COLUMN e, DROP f',
      'ALTER TABLE t MODIFY COLUMN k bigint FIRST, MODIFY j varchar(10) NOT NULL AFTER k',
      'ALTER TABLE t CHANGE g gg char(5), CHANGE COLUMN h hh char(4) AFTER d',
      'ALTER TABLE t CHANGE gg hh int, CHANGE hh gg int',
      'ALTER TABLE t MODIFY gg int AFTER hh, MODIFY hh int AFTER gg',
      'ALTER TABLE t MODIFY a int FIRST, ADD l int AFTER a, ADD m int FIRST, MODIFY k int AFTER m',
      'ALTER TABLE t CHANGE a A2 int, ADD n int AFTER A2',
      'ALTER TABLE t CHANGE A2 a int unsigned zerofill AFTER n, DROP m, ADD m varchar(5) AFTER a',
      'ALTER TABLE t DROP l, ADD l int FIRST',
      'ALTER TABLE t MODIFY b varchar(30)',
      'ALTER TABLE t MODIFY b varchar(4) NOT NULL',
      'ALTER TABLE t CHANGE `b` `be``e` varchar(40)',
      'ALTER TABLE t DROP COLUMN `be``e`',
      'ALTER TABLE t DROP COLUMN a',
      'ALTER TABLE t MODIFY ID bigint AUTO_INCREMENT',
    ],
  },
  {
    create: ORDERS,
    alters: [
      'ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a',
      'ALTER TABLE t RENAME COLUMN c TO cc, ADD COLUMN c int AFTER cc',
      'ALTER TABLE t RENAME COLUMN id TO Id, RENAME COLUMN d TO e, ADD f int AFTER e',
      'ALTER TABLE t RENAME COLUMN Id TO number, DROP COLUMN c, RENAME KEY ub TO u2',
    ],
  },
  {
    create: ORDERS,
    alters: [
      'ALTER TABLE t ALTER a SET DEFAULT 5, ALTER COLUMN b DROP DEFAULT',
      "ALTER TABLE t ALTER b SET DEFAULT 'y', MODIFY c text NOT NULL",
      'ALTER TABLE t ENGINE=InnoDB, ALGORITHM=COPY',
      'ALTER TABLE t FORCE',
      'ALTER TABLE t ORDER BY a, b DESC',
      "ALTER TABLE t COMMENT 'a, ADD COLUMN z int', ROW_FORMAT=DYNAMIC",
      '/* c1 */ ALTER /* c2 */ TABLE t -- c3\n ADD # c4\n z1 int /*!40000 , ADD z2 int */ /*!99999 , ADD z3 int */',
    ],
  },
  {
    create: 'CREATE TABLE t (a int, g1 int GENERATED ALWAYS AS (a + 1), g2 int AS (a * 2) STORED NOT NULL, UNIQUE (g2))',
    only: 'mysql',
    alters: [
      'ALTER TABLE t ADD COLUMN g3 varchar(10) GENERATED ALWAYS AS (concat(a, \')\')) VIRTUAL FIRST',
      'ALTER TABLE t MODIFY g2 bigint AS (a * 2) STORED',
      'ALTER TABLE t DROP COLUMN g1, ADD UNIQUE KEY (g3)',
    ],
  },
  {
    create: 'CREATE TABLE t (a int, g1 int GENERATED ALWAYS AS (a + 1), g2 int AS (a * 2) PERSISTENT, UNIQUE (g2))',
    only: 'mariadb',
    alters: ['ALTER TABLE t ADD COLUMN g3 varchar(10) AS (concat(a, \')\')) VIRTUAL FIRST', 'ALTER TABLE t DROP COLUMN g1, ADD UNIQUE KEY (g3)'],
  },
  {
    create: 'CREATE TABLE t (a int, b int INVISIBLE DEFAULT 3)',
    from: 80_023,
    alters: ['ALTER TABLE t ADD c int INVISIBLE FIRST', 'ALTER TABLE t MODIFY c int, MODIFY b int INVISIBLE'],
  },
  {
    create: 'CREATE TABLE t (a int, b int)',
    only: 'mysql',
    from: 80_023,
    alters: ['ALTER TABLE t ALTER COLUMN b SET INVISIBLE', 'ALTER TABLE t ALTER b SET VISIBLE, ADD c int VISIBLE'],
  },
];

const KEYS: readonly Chain[] = [
  {
    create: 'CREATE TABLE t (a int, b int, c varchar(30), d text, e int NOT NULL)',
    alters: [
      'ALTER TABLE t ADD PRIMARY KEY (a, b)',
      'ALTER TABLE t ADD UNIQUE (c), ADD UNIQUE KEY (c, a), ADD UNIQUE INDEX c9 (c(10))',
      'ALTER TABLE t ADD INDEX (c), ADD KEY (d(20)), ADD CONSTRAINT uq UNIQUE (e), ADD CONSTRAINT UNIQUE (e, a)',
      'ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (e)',
      'ALTER TABLE t DROP INDEX c, DROP KEY uq, ADD UNIQUE (b)',
      'ALTER TABLE t RENAME INDEX c_2 TO c, RENAME KEY b TO bb',
      'ALTER TABLE t DROP KEY e, DROP KEY c, DROP COLUMN a',
      'CREATE UNIQUE INDEX i ON t (e DESC, b)',
      'CREATE INDEX j USING BTREE ON t (c(3), e) COMMENT \'x\'',
      'DROP INDEX i ON t',
      'ALTER TABLE t MODIFY c varchar(8)',
      'ALTER TABLE t MODIFY c varchar(2)',
      'ALTER TABLE t MODIFY c int',
      'ALTER TABLE t MODIFY b int UNIQUE',
      'ALTER TABLE t DROP COLUMN e, DROP PRIMARY KEY, ADD COLUMN e int PRIMARY KEY FIRST',
      'DROP INDEX `PRIMARY` ON t',
      'ALTER TABLE t ADD FULLTEXT KEY ft (d)',
    ],
  },
  {
    create: 'CREATE TABLE t (id SERIAL, a int UNIQUE KEY, b int UNIQUE, `primary` int UNIQUE, KEY k (a), PRIMARY KEY (b))',
    alters: [
      'ALTER TABLE t ADD c int KEY, DROP PRIMARY KEY',
      'ALTER TABLE t ADD d int UNIQUE COMMENT \'PRIMARY KEY\', ADD UNIQUE (d, c)',
      'ALTER TABLE t CHANGE id id bigint SERIAL DEFAULT VALUE',
      'ALTER TABLE t DROP a, ADD a int AFTER id',
    ],
  },
  {
    create: 'CREATE TABLE t (a int, b varchar(10), UNIQUE ((a + 1)), UNIQUE KEY f (b, (lower(b))))',
    only: 'mysql',
    alters: ['ALTER TABLE t ADD UNIQUE INDEX ((a * 2))', 'ALTER TABLE t DROP KEY functional_index, ADD INDEX ((a - 1), b)'],
    from: 80_013,
  },
  {
    create: `CREATE TABLE t (id int PRIMARY KEY, parent int, a int, CONSTRAINT fk FOREIGN KEY (parent) REFERENCES t (id) ON DELETE CASCADE,
      FOREIGN KEY named (a) REFERENCES t (id))`,
    alters: [
      'ALTER TABLE t ADD UNIQUE (a)',
      'ALTER TABLE t ADD INDEX p (parent, a)',
      'ALTER TABLE t ADD b int, ADD CONSTRAINT fk2 FOREIGN KEY (b) REFERENCES t (id), ADD CONSTRAINT CHECK (b <> 5)',
      'ALTER TABLE t DROP FOREIGN KEY fk2',
      'ALTER TABLE t DROP KEY fk2',
    ],
  },
  {
    create: 'CREATE TABLE t (a int, b int, CONSTRAINT u UNIQUE (a), CONSTRAINT ch CHECK (b > 0))',
    from: 80_019,
    alters: ['ALTER TABLE t DROP CONSTRAINT ch', 'ALTER TABLE t DROP CONSTRAINT u'],
  },
  {
    create: 'CREATE TABLE t (a int PRIMARY KEY, b int)',
    only: 'mariadb',
    alters: [
      'ALTER TABLE t ADD COLUMN IF NOT EXISTS b int, ADD COLUMN IF NOT EXISTS c int, ADD COLUMN IF NOT EXISTS c int',
      'ALTER TABLE t DROP COLUMN IF EXISTS x, MODIFY COLUMN IF EXISTS y int, CHANGE COLUMN IF EXISTS z zz int, CHANGE IF EXISTS c cc int FIRST',
      'ALTER TABLE t ADD UNIQUE INDEX IF NOT EXISTS u (b)', 'ALTER TABLE t ADD INDEX IF NOT EXISTS u (a)',
      'ALTER TABLE t ADD UNIQUE IF NOT EXISTS (b), ADD PRIMARY KEY IF NOT EXISTS (b)',
      'ALTER TABLE t DROP INDEX IF EXISTS v, DROP INDEX IF EXISTS u, DROP CONSTRAINT IF EXISTS w',
      'CREATE INDEX IF NOT EXISTS i ON t (b)',
      'CREATE OR REPLACE UNIQUE INDEX i ON t (cc, b)',
      'DROP INDEX IF EXISTS nothing ON t',
      'ALTER ONLINE TABLE IF EXISTS t WAIT 5 RENAME COLUMN IF EXISTS b TO bb, RENAME INDEX IF EXISTS i TO ii',
      'ALTER TABLE t ALTER COLUMN IF EXISTS nothing SET DEFAULT 3, ALTER COLUMN bb SET DEFAULT (1 + 1)',
      'ALTER IGNORE TABLE t ADD UNIQUE (bb)',
      'ALTER TABLE t ADD COLUMN d text, ADD UNIQUE (d)',
    ],
  },
];

const TYPES: readonly Chain[] = [
  {
    create: `CREATE TABLE t (
      i1 TINYINT, i2 INT1 UNSIGNED, i3 BOOL, i4 BOOLEAN NOT NULL, i5 TINYINT(1) UNSIGNED, i6 SMALLINT(3), i7 INT2, i8 MEDIUMINT UNSIGNED, i9 MIDDLEINT, i10 INT(11),
      i11 INTEGER UNSIGNED, i12 INT4 ZEROFILL, i13 INT(5) UNSIGNED ZEROFILL, i14 BIGINT, i15 INT8 UNSIGNED, i16 BIGINT(3) SIGNED, i17 INT(0),
      d1 DECIMAL, d2 DEC(5), d3 NUMERIC(65,30), d4 FIXED(7,3) UNSIGNED, d5 DECIMAL(10,2) ZEROFILL,
      f1 FLOAT, f2 FLOAT(24), f3 FLOAT(25), f4 FLOAT(7,3), f5 DOUBLE PRECISION, f6 REAL, f7 DOUBLE(10,2) UNSIGNED, f8 FLOAT4, f9 FLOAT8, f10 FLOAT UNSIGNED,
      b1 BIT, b2 BIT(64), y1 YEAR, y2 YEAR(4))`,
    alters: ['ALTER TABLE t MODIFY i3 INT(11) UNSIGNED, MODIFY f1 FLOAT(53), MODIFY y1 YEAR NOT NULL, MODIFY d1 DECIMAL(0)'],
  },
  {
    create: `CREATE TABLE t (
      t1 DATE, t2 TIME, t3 TIME(3), t4 DATETIME, t5 DATETIME(6), t6 TIMESTAMP NULL, t7 TIMESTAMP(2) NULL DEFAULT NULL, t8 TIME(0),
      t9 TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP(), t10 DATETIME(3) DEFAULT NOW(3) ON UPDATE NOW(3), t11 DATETIME DEFAULT LOCALTIME)`,
    alters: ["ALTER TABLE t MODIFY t5 DATETIME(0) DEFAULT '2026-11-21 10:00:00', ADD t12 TIMESTAMP(6) NOT NULL DEFAULT '2026-11-21 10:00:00.5'"],
  },
  {
    create: 'CREATE TABLE t (a TIMESTAMP, b TIMESTAMP NULL, c TIMESTAMP(3), d DATETIME)',
    sqlMode: '',
    explicitTimestamps: false,
    alters: ['ALTER TABLE t ADD e TIMESTAMP, MODIFY b TIMESTAMP, MODIFY c TIMESTAMP(6) NULL', 'ALTER TABLE t CHANGE a a2 TIMESTAMP DEFAULT 0'],
  },
  {
    create: `CREATE TABLE t (
      c1 CHAR, c2 CHARACTER(3), c3 CHARACTER VARYING(30), c4 VARCHAR(1), c5 NATIONAL CHAR(3), c6 NCHAR VARYING(4), c7 NVARCHAR(5), c8 NATIONAL VARCHAR(6), c9 NCHAR, c10 CHAR(0),
      c11 NATIONAL CHARACTER VARYING (7), c12 CHAR VARYING (7), c13 NCHAR VARCHAR(8),
      x1 TINYTEXT, x2 TEXT, x3 MEDIUMTEXT, x4 LONGTEXT, x5 LONG, x6 LONG VARCHAR, x7 TEXT(50), x8 TEXT(100), x9 TEXT(20000), x10 TEXT(5000000),
      b1 BINARY, b2 BINARY(5), b3 VARBINARY(255), b4 TINYBLOB, b5 BLOB, b6 BLOB(100), b7 BLOB(256), b8 BLOB(70000), b9 LONG VARBINARY, b10 LONGBLOB, b11 CHAR BYTE, b12 VARCHAR(3) BYTE,
      s1 CHAR(3) CHARACTER SET binary, s2 VARCHAR(3) CHARSET binary, s3 TEXT CHARACTER SET binary, s4 CHAR(3) ASCII, s5 CHAR(3) UNICODE, s6 CHAR(3) BINARY,
      s7 VARCHAR(10) CHARACTER SET latin1 COLLATE latin1_bin, s8 VARCHAR(10) COLLATE utf8mb4_unicode_ci, s9 VARCHAR(10) CHARACTER SET utf8, s10 TEXT CHARACTER SET latin1 BINARY,
      s11 VARCHAR(10) CHARACTER SET utf8mb4, s12 VARCHAR(10) NOT NULL COLLATE latin1_general_ci,
      e1 ENUM('a','b''c', 'd\\\\e', 'trail '), e2 SET ('x','y') CHARACTER SET latin1, e3 ENUM(''), e4 ENUM('e', "dq", x'7a'))`,
    alters: [
      "ALTER TABLE t ADD e5 ENUM('n\\nl', 'q\"q', '%\\_') NOT NULL DEFAULT 'q\"q', MODIFY e2 SET('x','y','z')",
      'ALTER TABLE t CONVERT TO CHARACTER SET latin1',
      'ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
      'ALTER TABLE t DEFAULT CHARACTER SET = latin1, ADD n1 TEXT, MODIFY c1 CHAR(2)',
      'ALTER TABLE t COLLATE utf8mb4_general_ci, ADD n2 VARCHAR(3)',
      'ALTER TABLE t CHARACTER SET ascii COLLATE ascii_bin, ADD n3 VARCHAR(3) CHARACTER SET utf8mb4, ADD n4 TINYTEXT',
      'ALTER TABLE t CONVERT TO CHARSET utf8, MODIFY c3 VARCHAR(30) CHARACTER SET latin1',
      'ALTER TABLE t CONVERT TO CHARACTER SET DEFAULT',
    ],
  },
  {
    create: 'CREATE TABLE t (a text, b tinytext, c mediumtext, d longtext, e varchar(100), f char(10), g enum(\'x\')) CHARACTER SET latin1',
    alters: [
      'ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4',
      'ALTER TABLE t CONVERT TO CHARACTER SET latin1',
      'ALTER TABLE t DROP g, CONVERT TO CHARACTER SET utf16',
      "ALTER TABLE t ADD g enum('é'), ADD h set('é') CHARACTER SET utf8mb3",
      'ALTER TABLE t DROP g, DROP h, CONVERT TO CHARACTER SET binary',
    ],
  },
  {
    create: "CREATE TABLE t (a enum('é'), b set('é', 'ï')) CHARACTER SET utf8mb3",
    alters: ['ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4', 'ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin'],
  },
  {
    create: 'CREATE TABLE t (a text) CHARACTER SET cp1251 COLLATE cp1251_bin',
    only: 'mariadb',
    alters: ['ALTER TABLE t CHARACTER SET DEFAULT, ADD b text', 'ALTER TABLE t CHARACTER SET koi8r COLLATE koi8r_bin', 'ALTER TABLE t COLLATE DEFAULT, ADD c text', 'ALTER TABLE t CONVERT TO CHARACTER SET DEFAULT'],
  },
  {
    create: 'CREATE TABLE t (g1 GEOMETRY, g2 POINT NOT NULL, g3 LINESTRING, g4 POLYGON, g5 MULTIPOINT, g6 MULTILINESTRING, g7 MULTIPOLYGON, g8 GEOMETRYCOLLECTION, SPATIAL INDEX (g2))',
    alters: ['ALTER TABLE t DROP INDEX g2, MODIFY g2 POINT, ADD j JSON'],
  },
  {
    create: 'CREATE TABLE t (j JSON, k JSON NOT NULL, p POINT NOT NULL SRID 4326, g GEOMCOLLECTION, m varchar(36) NOT NULL DEFAULT (uuid()))',
    only: 'mysql',
    from: 80_026,
    alters: ["ALTER TABLE t ADD l JSON DEFAULT (json_object('a', 1)) AFTER j"],
  },
  { create: 'CREATE TABLE t (a VECTOR(3), b VECTOR)', only: 'mysql', from: 90_000, alters: ['ALTER TABLE t MODIFY a VECTOR(16383) NOT NULL'] },
  { create: 'CREATE TABLE t (a VECTOR(3) NOT NULL, VECTOR INDEX (a) M=8 DISTANCE=cosine)', only: 'mariadb', from: 110_700, alters: ['ALTER TABLE t ADD b VECTOR(2)'] },
  {
    create: `CREATE TABLE t (j JSON, u UUID, i4 INET4, i6 INET6 NOT NULL, c VARCHAR(100) COMPRESSED, x TEXT COMPRESSED=zlib, n DECIMAL(5,2),
      s BIGINT DEFAULT (5 + 1), e VARCHAR(40) DEFAULT uuid() COMMENT 'c')`,
    only: 'mariadb',
    alters: [
      'ALTER TABLE t MODIFY c VARCHAR(200), ADD k JSON NOT NULL CHECK (json_length(k) > 0), MODIFY j longtext',
      'ALTER TABLE t ADD z DATETIME DEFAULT (now() + INTERVAL 1 DAY), ADD CONSTRAINT c1 CHECK (n > 0)',
    ],
  },
  { create: 'CREATE TABLE "t" ("a b" REAL, "c" text)', sqlMode: 'ANSI', alters: ['ALTER TABLE "t" ADD "d\\" int AFTER "a b"'] },
  { create: "CREATE TABLE t (a varchar(5) DEFAULT 'x\\')", sqlMode: 'NO_BACKSLASH_ESCAPES', alters: ["ALTER TABLE t ADD b enum('q\\','\\n')"] },
  {
    create: 'CREATE TABLE t (a VARCHAR2(5), b DATE, c NUMBER, d BLOB, e RAW(3), f CLOB, g NUMBER(3))',
    only: 'mariadb',
    sqlMode: 'ORACLE',
    alters: ['ALTER TABLE "t" ADD h DATE, MODIFY b VARCHAR(7)'],
  },
  { create: 'CREATE TABLE t (a varchar(70000), c varbinary(70000)) CHARACTER SET latin1', sqlMode: '', alters: ['ALTER TABLE t ADD d varchar(30000) CHARACTER SET utf8mb4'] },
];

const PARTITIONS: readonly Chain[] = [
  {
    create: 'CREATE TABLE t (a int NOT NULL, b int) PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))',
    alters: [
      'ALTER TABLE t ADD PARTITION (PARTITION p2 VALUES LESS THAN (30))',
      'ALTER TABLE t ADD COLUMN c int, ADD PRIMARY KEY (a)',
      'ALTER TABLE t DROP PARTITION p0',
      'ALTER TABLE t REORGANIZE PARTITION p1, p2 INTO (PARTITION p VALUES LESS THAN (40))',
      'ALTER TABLE t ADD d int NOT NULL PARTITION BY HASH (a) PARTITIONS 3',
      'ALTER TABLE t COALESCE PARTITION 1',
      'ALTER TABLE t TRUNCATE PARTITION p0',
      'ALTER TABLE t REMOVE PARTITIONING',
      'ALTER TABLE t DROP COLUMN b',
    ],
  },
];

export const CHAINS: readonly Chain[] = [...COLUMNS, ...KEYS, ...TYPES, ...PARTITIONS];
