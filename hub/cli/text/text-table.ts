/** Rows in columns, two blanks apart; right-aligned where the heading ends in `>`. No blanks at the ends of lines. */
export function textTable(headings: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const right = headings.map((heading) => heading.endsWith('>'));
  const all = [headings.map((heading) => heading.replace(/>$/, '')), ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => widthOf(row[column] ?? ''))));
  return all.map((row) =>
    row
      .map((cell, column) => {
        const blanks = ' '.repeat((widths[column] ?? 0) - widthOf(cell));
        return right[column] === true ? `${blanks}${cell}` : `${cell}${blanks}`;
      })
      .join('  ')
      .trimEnd(),
  );
}

/** In code points: near enough for names and numbers. */
function widthOf(text: string): number {
  return Array.from(text).length;
}

/** `1234567` as `1,234,567`. */
export function grouped(count: number): string {
  return String(Math.round(count)).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** `1 row`, `1,234 rows`. */
export function counted(count: number, one: string): string {
  return `${grouped(count)} ${one}${count === 1 ? '' : 's'}`;
}

/** The beginning of a long text, and `…`. Signs that would move the cursor are shown as escapes. */
export function shortened(text: string, longest: number): string {
  const visible = text.replaceAll(/\p{Cc}/gu, escaped);
  const signs = Array.from(visible);
  return signs.length <= longest ? visible : `${signs.slice(0, longest - 1).join('')}…`;
}

function escaped(control: string): string {
  const known: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  return known[control] ?? `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
