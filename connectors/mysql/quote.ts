/** As SQL under the settings of a session: a backslash escapes. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

export function quoteIdentifier(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** `` `shop`.`orders` `` */
export function quoteTable({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${quoteIdentifier(namespace)}.${quoteIdentifier(name)}`;
}
