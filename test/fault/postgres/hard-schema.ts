/** Tables beside the shop that have what is hard to follow. */
export const HARD_TABLES = `
  CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL DEFAULT 1, slot int NOT NULL UNIQUE DEFERRABLE, body text NOT NULL, note text);
  ALTER TABLE counters ALTER COLUMN body SET STORAGE EXTERNAL;
  INSERT INTO counters (id, slot, body) SELECT i, i, repeat(md5(i::text), 100) FROM generate_series(1, 400) AS i;
  CREATE TABLE bag (a int, b text);
  ALTER TABLE bag REPLICA IDENTITY FULL;
  INSERT INTO bag SELECT i % 20, 'b' || i % 3 FROM generate_series(1, 100) AS i;
  CREATE TABLE visits (key text PRIMARY KEY, n int NOT NULL);
  INSERT INTO visits SELECT 'v' || i, 1 FROM generate_series(1, 50) AS i;
  CREATE TABLE shapes (id int PRIMARY KEY, n int NOT NULL DEFAULT 1);
  INSERT INTO shapes SELECT i FROM generate_series(1, 200) AS i;
`;

/** Statements of one change of a table's shape, in one transaction. `fresh` makes names that are new. */
export const SHAPE_CHANGES: readonly { readonly name: string; readonly statements: (fresh: string) => readonly string[] }[] = [
  { name: 'a nullable column comes', statements: (fresh) => [`ALTER TABLE shapes ADD COLUMN ${fresh} text`, `UPDATE shapes SET ${fresh} = 'set' WHERE id % 3 = 0`] },
  { name: 'a column with a constant default comes', statements: (fresh) => [`ALTER TABLE shapes ADD COLUMN ${fresh} numeric NOT NULL DEFAULT 1.50`] },
  { name: 'a column with values of its own comes', statements: (fresh) => [`ALTER TABLE shapes ADD COLUMN ${fresh} int DEFAULT floor(random() * 1000)::int`] },
  { name: 'columns go', statements: () => [dropAllBut('shapes', ['id', 'n'])] },
  { name: 'a column goes and comes again', statements: (fresh) => [`ALTER TABLE shapes ADD COLUMN IF NOT EXISTS again text`, `UPDATE shapes SET again = '${fresh}'`, 'ALTER TABLE shapes DROP COLUMN again', 'ALTER TABLE shapes ADD COLUMN again text'] },
  { name: 'a column is renamed', statements: (fresh) => [`ALTER TABLE shapes ADD COLUMN IF NOT EXISTS again text`, `ALTER TABLE shapes RENAME COLUMN again TO ${fresh}`] },
  { name: 'a column grows', statements: () => ['ALTER TABLE shapes ALTER COLUMN n TYPE bigint'] },
  { name: 'a column shrinks', statements: () => ['ALTER TABLE shapes ALTER COLUMN n TYPE int'] },
  { name: 'a table is made anew', statements: () => ['DROP TABLE shapes', 'CREATE TABLE shapes (id int PRIMARY KEY, n int NOT NULL DEFAULT 1)', 'INSERT INTO shapes SELECT i FROM generate_series(1, 150) AS i'] },
  { name: 'a table is rewritten', statements: () => ['ALTER TABLE counters ALTER COLUMN n TYPE int USING n'] },
  { name: 'a busy table gets a column', statements: (fresh) => [`ALTER TABLE orders ADD COLUMN ${fresh} int DEFAULT 7`] },
  { name: 'a busy table loses columns', statements: () => [dropAllBut('orders', ['id', 'customer_id', 'status', 'total', 'note', 'placed_at', 'version'])] },
];

function dropAllBut(table: string, kept: readonly string[]): string {
  return `DO $$ DECLARE c name; BEGIN
    FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = '${table}'::regclass AND attnum > 0 AND NOT attisdropped
      AND attname <> ALL (ARRAY[${kept.map((name) => `'${name}'`).join(', ')}]) LOOP
      EXECUTE format('ALTER TABLE ${table} DROP COLUMN %I', c);
    END LOOP; END $$`;
}
