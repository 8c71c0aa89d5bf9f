import type { MysqlFlavor, MysqlVersion } from '../../../fixtures/mysql.ts';

/** What one recorded binary log is made of: settings that are on while it is written, and the statements. */
export interface Scenario {
  readonly name: string;
  readonly versions: (version: MysqlVersion, flavor: MysqlFlavor) => boolean;
  /** Runs before the log begins. */
  readonly settings?: string;
  /** Statements, each run in the database `golden`. */
  readonly sql: (flavor: MysqlFlavor, version: MysqlVersion) => string;
  /** Tables whose content is recorded beside the log, by this statement. */
  readonly tables?: Readonly<Record<string, string>>;
  /** Runs after the log was ended. */
  readonly after?: string;
}

const everywhere = (): boolean => true;
const onMysql = (_version: MysqlVersion, flavor: MysqlFlavor): boolean => flavor === 'mysql';
const onMariadb = (_version: MysqlVersion, flavor: MysqlFlavor): boolean => flavor === 'mariadb';
const compresses = (version: MysqlVersion): boolean => version === 'mysql-8.0' || version === 'mysql-9';

const ORDERS = `CREATE TABLE orders (
  id bigint unsigned NOT NULL AUTO_INCREMENT,
  customer varchar(40) CHARACTER SET utf8mb4 NOT NULL,
  note text CHARACTER SET latin1,
  amount decimal(12,2) NOT NULL,
  quantity int,
  state enum('new','paid','sent') CHARACTER SET utf8mb4 NOT NULL DEFAULT 'new',
  flags set('gift','rush','größe') CHARACTER SET utf8mb4,
  at datetime(6) NOT NULL,
  body longblob,
  PRIMARY KEY (id)
);`;

const CHANGES = `
INSERT INTO orders VALUES
  (1, 'Ada', 'eins', 10.50, 1, 'new', 'gift', '2026-11-21 12:30:00.123456', x'00ff00'),
  (2, 'Bärbel', NULL, -0.01, NULL, 'paid', 'gift,größe', '1999-12-31 23:59:59', NULL),
  (18446744073709551615, '名前 😀', 'größer', 9999999999.99, -2147483648, 'sent', '', '2026-01-01 00:00:00.5', REPEAT('b', 300));
BEGIN;
UPDATE orders SET quantity = 7 WHERE id = 1;
UPDATE orders SET note = 'zwei', amount = amount + 1 WHERE id IN (1, 2);
SAVEPOINT here;
INSERT INTO orders (id, customer, amount, at) VALUES (50, 'undone', 1, '2026-11-21');
ROLLBACK TO SAVEPOINT here;
UPDATE orders SET id = 3 WHERE id = 2;
DELETE FROM orders WHERE id = 18446744073709551615;
COMMIT;
`;

/** Leaves columns out that have a default, and columns that have none. */
const BRIEF = `INSERT INTO orders (id, customer, amount, at) VALUES (9, 'brief', 1, '2026-11-21');`;

const ORDERS_CONTENT = { orders: 'SELECT id, customer, note, amount, quantity, state, flags, at, HEX(body) AS body FROM orders ORDER BY id' };

/** More columns than one byte of a bitmap, and than one byte of a packed count. */
const WIDE = `CREATE TABLE wide (id int PRIMARY KEY, ${Array.from({ length: 299 }, (_, index) => `c${index} smallint`).join(', ')});
INSERT INTO wide (id, c0, c298) VALUES (1, 5, -5);
UPDATE wide SET c7 = 1, c8 = 2, c100 = 3 WHERE id = 1;`;

const CONTEXT = `
CREATE TABLE counters (id int AUTO_INCREMENT PRIMARY KEY, value double, name varchar(30));
SET SESSION binlog_format = 'STATEMENT';
SET @name = 'a user variable', @number = 42, @nothing = NULL, @point = 1.5, @decimal = 12.34;
INSERT INTO counters (value, name) VALUES (RAND(), @name);
INSERT INTO counters (value, name) VALUES (@number + @point + @decimal, @nothing);
SET SESSION binlog_format = 'ROW';
SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', time_zone = '+05:30', foreign_key_checks = 0;
CREATE TABLE "Quoted ""name""" ("a b" int);
SET SESSION sql_mode = DEFAULT, character_set_client = latin1;
ALTER TABLE counters ADD COLUMN extra int DEFAULT 5;
TRUNCATE TABLE counters;
RENAME TABLE counters TO counts;
CREATE TEMPORARY TABLE passing (a int);
DROP TABLE counts;`;

const XA = `
CREATE TABLE ledger (id int PRIMARY KEY, value int);
XA START 'one', 'branch', 7; INSERT INTO ledger VALUES (1, 1); XA END 'one', 'branch', 7; XA PREPARE 'one', 'branch', 7; XA COMMIT 'one', 'branch', 7;
XA START 'two'; INSERT INTO ledger VALUES (2, 2); XA END 'two'; XA PREPARE 'two'; XA ROLLBACK 'two';
XA START 'three'; INSERT INTO ledger VALUES (3, 3); XA END 'three'; XA COMMIT 'three' ONE PHASE;`;

const TYPES = `CREATE TABLE types (
  id int PRIMARY KEY, t tinyint, tu tinyint unsigned, s smallint, m mediumint, mu mediumint unsigned, b bigint, bu bigint unsigned,
  y year, d65 decimal(65,30), f float, g double, bits bit(17), dt date, tm time(3), ts timestamp(6) NULL, dtm datetime,
  c char(10) CHARACTER SET utf8mb4, bn binary(5), vb varbinary(300), tt tinytext, mt mediumtext, lt longtext, tb tinyblob, mb mediumblob,
  cs char(3) CHARACTER SET latin1 COLLATE latin1_german2_ci, p point, ge geometry,
  hidden int GENERATED ALWAYS AS (id + 1) VIRTUAL, kept int GENERATED ALWAYS AS (id + 2) STORED,
  UNIQUE (c(3)));
SET SESSION time_zone = '+00:00', sql_mode = '';
INSERT INTO types (id, t, tu, s, m, mu, b, bu, y, d65, f, g, bits, dt, tm, ts, dtm, c, bn, vb, tt, mt, lt, tb, mb, cs, p, ge) VALUES
  (1, -128, 255, -32768, -8388608, 16777215, -9223372036854775808, 18446744073709551615, 2155, 12345678901234567890123456789012345.000000000000000000000000000001,
   1.5, -1e-300, b'10000000000000001', '2026-11-21', '-838:59:59.5', '2026-11-21 12:30:00.000001', '2026-11-21 12:30:00', 'größe', 'ab', 'x', 't', 'm', 'l', x'00', x'ff',
   'ß', ST_GeomFromText('POINT(1 2)'), ST_GeomFromText('LINESTRING(0 0,1 1)')),
  (2, 0, 0, 0, 0, 0, 0, 0, 0, -1.5, 0, 0, b'0', '0000-00-00', '00:00:00', '1970-01-01 00:00:01', '0000-00-00 00:00:00', '', '', '', '', '', '', '', '', '',
   NULL, NULL),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);`;

const NEWEST: Readonly<Record<MysqlFlavor, string>> = {
  mysql: `CREATE TABLE documents (id int PRIMARY KEY, doc json, other json);
INSERT INTO documents VALUES (1, '{"a": 1, "b": [1, 2.5, "x"], "c": {"d": null}}', '[]'), (2, '"text"', NULL);
UPDATE documents SET doc = JSON_SET(doc, '$.a', 2, '$.b[2]', 'yy') WHERE id = 1;`,
  mariadb: `CREATE TABLE documents (id int PRIMARY KEY, doc json, address inet6, uid uuid);
INSERT INTO documents VALUES (1, '{"a": 1}', '::1', '123e4567-e89b-12d3-a456-426655440000');
CREATE SEQUENCE numbers START WITH 5 INCREMENT BY 2;
SELECT NEXTVAL(numbers);`,
};

/** Kinds of columns whose metadata are counted together, in an order in which a wrong count shows. */
function metadata(flavor: MysqlFlavor, version: MysqlVersion): string {
  const invisible = flavor === 'mariadb' ? 'unseen int INVISIBLE' : version === 'mysql-8.0.15' ? 'unseen int' : 'unseen int INVISIBLE';
  const functional = `CREATE TABLE functional (id int PRIMARY KEY, doc json, name varchar(10) CHARACTER SET latin1,
  KEY upper_name ((UPPER(name)))${version === 'mysql-8.0.15' ? '' : ", KEY numbers ((CAST(doc->'$.a' AS UNSIGNED ARRAY)))"});
INSERT INTO functional VALUES (1, '{"a": [1, 2]}', 'abc');`;
  return `CREATE TABLE mixed (
  a varchar(20) CHARACTER SET latin1, place point NOT NULL, e enum('x','ß') CHARACTER SET latin2, b varchar(300) CHARACTER SET utf8mb3,
  u int unsigned, line linestring, s set('p','q','r') CHARACTER SET utf8mb4, y year, c text CHARACTER SET ucs2, ${invisible}, big bigint unsigned,
  PRIMARY KEY (a(7), u));
INSERT INTO mixed (a, place, e, b, u, s, c, big) VALUES ('key', ST_GeomFromText('POINT(3 4)'), 'x', 'text', 4294967295, 'p,r', 'ucs2', 1);
UPDATE mixed SET b = 'other', s = NULL;
${flavor === 'mysql' ? functional : ''}`;
}

/** In the order in which they are recorded: each in a log file of its own. */
export const SCENARIOS: readonly Scenario[] = [
  { name: 'rows', versions: everywhere, sql: () => ORDERS + CHANGES + WIDE, tables: ORDERS_CONTENT },
  { name: 'statements', versions: everywhere, sql: () => CONTEXT },
  { name: 'xa', versions: everywhere, sql: () => XA, tables: { ledger: 'SELECT * FROM ledger ORDER BY id' } },
  { name: 'types', versions: everywhere, sql: (flavor) => TYPES + NEWEST[flavor] },
  {
    name: 'vectors',
    versions: (version) => version === 'mysql-9' || version === 'mariadb-11.8',
    sql: (flavor) => `CREATE TABLE vectors (id int PRIMARY KEY, v vector(3));
INSERT INTO vectors VALUES (1, ${flavor === 'mysql' ? 'STRING_TO_VECTOR' : 'VEC_FromText'}('[1,2.5,-3]'));`,
  },
  { name: 'metadata', versions: everywhere, sql: (flavor, version) => metadata(flavor, version) },
  {
    name: 'minimal',
    versions: everywhere,
    settings: `SET GLOBAL binlog_row_image = 'MINIMAL', GLOBAL binlog_row_metadata = 'MINIMAL', GLOBAL binlog_checksum = 'NONE'`,
    sql: () => ORDERS + CHANGES + BRIEF,
    tables: ORDERS_CONTENT,
  },
  {
    name: 'noblob',
    versions: everywhere,
    settings: `SET GLOBAL binlog_row_image = 'NOBLOB'`,
    sql: () => ORDERS + CHANGES + BRIEF,
    tables: ORDERS_CONTENT,
    after: `SET GLOBAL binlog_row_image = 'FULL', GLOBAL binlog_row_metadata = 'FULL', GLOBAL binlog_checksum = 'CRC32'`,
  },
  {
    name: 'partial-json',
    versions: onMysql,
    settings: `SET GLOBAL binlog_row_value_options = 'PARTIAL_JSON', GLOBAL binlog_rows_query_log_events = 1`,
    sql: () => `CREATE TABLE documents (id int PRIMARY KEY, doc json, name varchar(10), other json);
INSERT INTO documents VALUES (1, JSON_OBJECT('a', REPEAT('x', 200), 'b', JSON_ARRAY(1, 2, 3)), 'n', JSON_OBJECT('k', REPEAT('z', 100)));
UPDATE documents SET doc = JSON_SET(doc, '$.b[1]', 7) WHERE id = 1;
UPDATE documents SET doc = JSON_REMOVE(doc, '$.b[0]'), other = JSON_SET(other, '$.k', 'short'), name = 'm' WHERE id = 1;
UPDATE documents SET name = 'only' WHERE id = 1;`,
    tables: { documents: 'SELECT * FROM documents' },
    after: `SET GLOBAL binlog_row_value_options = '', GLOBAL binlog_rows_query_log_events = 0`,
  },
  {
    name: 'payload',
    versions: compresses,
    settings: 'SET GLOBAL binlog_transaction_compression = ON',
    sql: () => ORDERS + CHANGES,
    tables: ORDERS_CONTENT,
    after: 'SET GLOBAL binlog_transaction_compression = OFF',
  },
  {
    name: 'tagged',
    versions: (version) => version === 'mysql-9',
    sql: () => `CREATE TABLE tagged (id int PRIMARY KEY);
SET gtid_next = 'AUTOMATIC:shop'; INSERT INTO tagged VALUES (1);
SET gtid_next = 'AUTOMATIC:other_tag'; INSERT INTO tagged VALUES (2);
SET gtid_next = 'AUTOMATIC'; INSERT INTO tagged VALUES (3);`,
  },
  {
    name: 'compressed',
    versions: onMariadb,
    settings: 'SET GLOBAL log_bin_compress = ON, GLOBAL log_bin_compress_min_len = 10',
    sql: () => ORDERS + CHANGES,
    tables: ORDERS_CONTENT,
    after: 'SET GLOBAL log_bin_compress = OFF',
  },
  {
    name: 'domains',
    versions: onMariadb,
    settings: 'SET GLOBAL binlog_annotate_row_events = OFF',
    sql: () => `SET SESSION gtid_domain_id = 5; CREATE TABLE domains (id int PRIMARY KEY);
INSERT INTO domains VALUES (1); SET SESSION gtid_domain_id = 4294967295, server_id = 77; INSERT INTO domains VALUES (2);
SET SESSION binlog_alter_two_phase = ON; ALTER TABLE domains ADD COLUMN a int, ALGORITHM=COPY;`,
    after: 'SET GLOBAL binlog_annotate_row_events = ON',
  },
];
