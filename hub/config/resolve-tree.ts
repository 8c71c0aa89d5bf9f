import { asTidemarkError, type TidemarkError } from '../../contracts/errors/error.ts';
import { pointerTo } from './document.ts';
import { hasReference, resolveReferences, type ReferenceScope } from './references.ts';

export interface ResolvedTree {
  /** A deep copy with every reference replaced; one that failed is left as it stands. */
  readonly value: unknown;
  /** Pointers of the texts that had a reference. */
  readonly substituted: ReadonlySet<string>;
  readonly failures: readonly { readonly pointer: string; readonly error: TidemarkError }[];
}

/** Resolves the references in every text of a tree as the document gave it. `pointer` is the place of the tree. */
export async function resolveTree(tree: unknown, pointer: string, scope: ReferenceScope): Promise<ResolvedTree> {
  const substituted = new Set<string>();
  const failures: { pointer: string; error: TidemarkError }[] = [];
  const copy = async (value: unknown, at: string): Promise<unknown> => {
    if (typeof value === 'string') {
      if (!hasReference(value)) return value;
      substituted.add(at);
      try {
        return await resolveReferences(value, scope);
      } catch (error) {
        failures.push({ pointer: at, error: asTidemarkError(error, 'CONFIG_SECRET') });
        return value;
      }
    }
    if (Array.isArray(value)) {
      const items: unknown[] = [];
      for (const [index, item] of value.entries()) items.push(await copy(item, pointerTo(at, index)));
      return items;
    }
    if (typeof value !== 'object' || value === null) return value;
    const result: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const [key, inner] of Object.entries(value)) result[key] = await copy(inner, pointerTo(at, key));
    return result;
  };
  return { value: await copy(tree, pointer), substituted, failures };
}
