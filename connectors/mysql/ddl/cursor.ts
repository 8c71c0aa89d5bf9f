import { notUnderstood, type SqlContext, type TableName, foldTableName } from './context.ts';
import { type Token, Tokenizer } from './tokens.ts';

const END: Token = { kind: 'end', text: '', upper: '' };

/** Tokens of a parenthesis that are answered; what is longer is passed over only. */
const SHORT_PARENTHESIS = 16;

/** Walks the tokens of a statement, of which no more are held than were looked ahead. Methods that `expect` throw `MYSQL_STATEMENT` where something else stands. */
export class Cursor {
  readonly context: SqlContext;
  readonly #tokenizer: Tokenizer;
  readonly #ahead: Token[] = [];

  constructor(sql: string, context: SqlContext) {
    this.context = context;
    this.#tokenizer = new Tokenizer(sql, context);
  }

  /** The token `ahead` of the next one. */
  peek(ahead = 0): Token {
    while (this.#ahead.length <= ahead) {
      const token = this.#tokenizer.next();
      if (token.kind === 'broken') throw notUnderstood('a quote or a comment does not end');
      if (token.kind === 'end') return END;
      this.#ahead.push(token);
    }
    return this.#ahead[ahead] ?? END;
  }

  take(): Token {
    const token = this.peek();
    this.#ahead.shift();
    return token;
  }

  /** At the end, or at a semicolon with nothing behind it. */
  atEnd(): boolean {
    return this.peek().kind === 'end' || (this.isSymbol(';') && this.peek(1).kind === 'end');
  }

  expectEnd(): void {
    if (!this.atEnd()) throw this.unexpected();
  }

  unexpected(): Error {
    const token = this.peek();
    return notUnderstood(token.kind === 'end' ? 'the statement ends too early' : `a ${token.kind} stands where something else is known`);
  }

  isWord(...words: readonly string[]): boolean {
    const token = this.peek();
    return token.kind === 'word' && words.includes(token.upper);
  }

  /** All of the words stand next, in this order. */
  isPhrase(...words: readonly string[]): boolean {
    return words.every((word, index) => this.peek(index).upper === word);
  }

  isSymbol(symbol: string, ahead = 0): boolean {
    const token = this.peek(ahead);
    return token.kind === 'symbol' && token.text === symbol;
  }

  /** Takes the word when it is next. */
  word(word: string): boolean {
    if (!this.isWord(word)) return false;
    this.take();
    return true;
  }

  /** Takes whichever of the words is next; '' when none is. */
  anyWord(...words: readonly string[]): string {
    return this.isWord(...words) ? this.take().upper : '';
  }

  phrase(...words: readonly string[]): boolean {
    if (!this.isPhrase(...words)) return false;
    this.#ahead.splice(0, words.length);
    return true;
  }

  symbol(symbol: string): boolean {
    if (!this.isSymbol(symbol)) return false;
    this.take();
    return true;
  }

  expectWord(...words: readonly string[]): string {
    const found = this.anyWord(...words);
    if (found === '') throw this.unexpected();
    return found;
  }

  expectSymbol(symbol: string): void {
    if (!this.symbol(symbol)) throw this.unexpected();
  }

  isIdentifier(): boolean {
    const { kind } = this.peek();
    return kind === 'word' || kind === 'name';
  }

  /** Of a column, index, constraint, …: as written. */
  identifier(): string {
    if (!this.isIdentifier()) throw this.unexpected();
    return this.take().text;
  }

  /** `[[db.]table.]column`: the column alone. */
  columnName(): string {
    let name = this.identifier();
    while (this.isSymbol('.')) {
      this.take();
      name = this.identifier();
    }
    return name;
  }

  databaseName(): string {
    return foldTableName(this.identifier(), this.context);
  }

  /** `[db.]table` (or `.table`), the default database filled in. */
  tableName(): TableName {
    const first = this.symbol('.') ? null : this.identifier();
    if (first !== null && !this.symbol('.')) return this.qualified(this.context.database, first);
    const table = this.identifier();
    return this.qualified(first ?? this.context.database, table);
  }

  qualified(database: string, table: string): TableName {
    if (database === '') throw notUnderstood('a table is named without its database, and there is no default database');
    return { database: foldTableName(database, this.context), table: foldTableName(table, this.context) };
  }

  ifExists(): boolean {
    return this.phrase('IF', 'EXISTS');
  }

  ifNotExists(): boolean {
    return this.phrase('IF', 'NOT', 'EXISTS');
  }

  /** At an opening parenthesis: passes over everything to the one that closes it. Answers the first tokens between. */
  parenthesised(): readonly Token[] {
    this.expectSymbol('(');
    const within: Token[] = [];
    for (let depth = 1; ; ) {
      const token = this.take();
      if (token.kind === 'end') throw this.unexpected();
      if (token.kind === 'symbol' && token.text === '(') depth++;
      if (token.kind === 'symbol' && token.text === ')' && --depth === 0) return within;
      if (within.length < SHORT_PARENTHESIS) within.push(token);
    }
  }

  /** Passes over one value of an option: a word, a literal, a parenthesis. */
  skipValue(): void {
    if (this.isSymbol('(')) this.parenthesised();
    else if (this.take().kind === 'end') throw this.unexpected();
  }

  /** Passes over everything to the end. */
  skipAll(): void {
    while (this.take().kind !== 'end') continue;
  }
}
