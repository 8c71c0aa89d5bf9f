import { expect, test } from 'vitest';
import { type NameRules, printedName, targetName } from '../../../sinks/relational/names.ts';

const ORDERS = { namespace: 'shop', name: 'orders', tableId: 1 };

function rules(template: string | null, schemas: Readonly<Record<string, string>> = {}): NameRules {
  return { schemas: new Map(Object.entries(schemas)), templateOf: () => template };
}

test.each([
  [null, {}, 'shop.orders'],
  [null, { shop: 'mirror' }, 'mirror.orders'],
  ['bestellungen', {}, 'shop.bestellungen'],
  ['bestellungen', { shop: 'mirror' }, 'mirror.bestellungen'],
  ['{schema}_{table}', { shop: 'mirror' }, 'mirror.shop_orders'],
  ['all.{schema}_{table}', { shop: 'mirror' }, 'all.shop_orders'],
  ['{schema}2.a.b', {}, 'shop2."a.b"'],
])('template %s with %o gives %s', (template, schemas, expected) => {
  expect(printedName(targetName(rules(template, schemas), ORDERS))).toBe(expected);
});

test.each(['all.', '.orders'])('a template that gives no name (%s) is refused', (template) => {
  expect(() => targetName(rules(template), ORDERS)).toThrow(expect.objectContaining({ code: 'CONFIG_VALUE' }));
});
