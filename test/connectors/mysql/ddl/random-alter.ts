import type { TableShape } from '../../../../connectors/mysql/ddl/shape.ts';
import type { Random } from '../../../../contracts/runtime.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g'] as const;
const KEY_NAMES = ['', '', 'k1', 'k2', 'a', 'b', 'PRIMARY'] as const;
const TYPES = ['int', 'bigint unsigned', 'varchar(4)', 'varchar(12)', 'text', 'decimal(4,1)', 'char(8) CHARACTER SET latin1', 'datetime(3)', 'varbinary(6)', "enum('x','y')"] as const;
const ATTRIBUTES = ['', '', '', ' NOT NULL', ' NULL', ' UNIQUE', ' PRIMARY KEY', " COMMENT 'c,)'"] as const;

/** An ALTER TABLE of `t` that may well be one; many are refused by the server. */
export function randomAlter(shape: TableShape, random: Random): string {
  const operations = Array.from({ length: 1 + Math.floor(random.unit() * 3) }, () => operation(shape, random));
  return `ALTER TABLE t ${operations.join(', ')}`;
}

function operation(shape: TableShape, random: Random): string {
  const one = <T>(items: readonly T[]): T => {
    const item = items[Math.floor(random.unit() * items.length)];
    if (item === undefined) throw new Error('nothing to choose from');
    return item;
  };
  const column = (): string => (random.unit() < 0.9 ? one(shape.columns).name : one(NAMES));
  const place = (): string => one(['', '', ' FIRST', ` AFTER ${column()}`, ` AFTER ${one(NAMES)}`]);
  const definition = (): string => one(TYPES) + one(ATTRIBUTES) + place();
  const key = (): string => (shape.keys.length > 0 && random.unit() < 0.9 ? one(shape.keys).name : one(['k1', 'k2']));
  const parts = (): string => {
    const columns = new Set([one(NAMES), column(), column()].slice(Math.floor(random.unit() * 3)));
    return [...columns].map((name) => name + one(['', '', '', '(3)', '(8)'])).join(', ');
  };
  const name = (): string => {
    const chosen = one(KEY_NAMES);
    return chosen === '' || chosen === 'PRIMARY' ? '' : ` ${chosen}`;
  };
  return one<() => string>([
    () => `ADD COLUMN ${one(NAMES)} ${definition()}`,
    () => `ADD ${one(NAMES)} ${definition()}`,
    () => `DROP COLUMN ${column()}`,
    () => `MODIFY ${column()} ${definition()}`,
    () => `CHANGE ${column()} ${one(NAMES)} ${definition()}`,
    () => `CHANGE ${column()} ${one(NAMES)} ${definition()}`,
    () => `RENAME COLUMN ${column()} TO ${one(NAMES)}`,
    () => `ADD UNIQUE${name()} (${parts()})`,
    () => `ADD KEY${name()} (${parts()})`,
    () => `ADD PRIMARY KEY (${parts()})`,
    () => 'DROP PRIMARY KEY',
    () => `DROP KEY \`${key()}\``,
    () => `RENAME KEY \`${key()}\` TO ${one(['k1', 'k2', 'k3'])}`,
    () => `ALTER ${column()} DROP DEFAULT`,
    () => `CONVERT TO CHARACTER SET ${one(['utf8mb4', 'latin1'])}`,
    () => `DEFAULT CHARACTER SET ${one(['utf8mb4', 'latin1', 'utf8mb3'])}`,
  ])();
}
