/** Names that every relational shadow has. */
export { notesTable, shadowNames, shadowRules, shadowTable, type ShadowNames } from '../../relational/shadow-names.ts';
