/**
 * What the statements of a query are, as far as it matters for transactions: PostgreSQL itself says whether something was written,
 * but which statement begins or ends a transaction must be known before it is run.
 */

/**
 *   begin, commit, rollback   of a transaction block
 *   bare      is told apart from others outside of a block by PostgreSQL, and so must not be put into one
 *   copy      COPY FROM STDIN
 *   listen    notifications, which are not served
 *   read      begins as a query does
 *   other     everything else
 */
export type StatementKind =
  | 'begin'
  | 'commit'
  | 'rollback'
  | 'bare'
  | 'copy'
  | 'listen'
  | 'read'
  | 'other'

export interface Statement {
  readonly kind: StatementKind
  readonly text: string
}

const READS = new Set(['SELECT', 'TABLE', 'VALUES', 'SHOW', 'WITH', '('])
const WRITES = ['INSERT', 'UPDATE', 'DELETE', 'MERGE']
const BARE = new Set(['SAVEPOINT', 'RELEASE', 'LOCK', 'DECLARE'])
const MAX_WORDS = 10_000

/** The statements of a query in order; those without a word in them are left out. */
export function splitStatements(sql: string): Statement[] {
  const statements: Statement[] = []
  let words: string[] = []
  let start = 0
  let depth = 0
  const close = (end: number): void => {
    if (words.length > 0) statements.push({ kind: kindOf(words), text: sql.slice(start, end) })
    words = []
    start = end
  }
  for (let at = 0; at < sql.length; ) {
    const next = tokenEnd(sql, at)
    const token = sql.slice(at, next)
    // The body of a function in SQL's own style: BEGIN ATOMIC ... END has semicolons that end nothing.
    const word = /^[\w(]/.test(token) ? token.toUpperCase() : ''
    if (word === 'ATOMIC' && words.at(-1) === 'BEGIN') depth = 1
    else if (depth > 0 && word === 'CASE') depth++
    else if (depth > 0 && word === 'END') depth--
    if (word !== '' && words.length < MAX_WORDS) words.push(word)
    if (token === ';' && depth === 0) close(next)
    at = next
  }
  close(sql.length)
  return statements
}

function kindOf(words: readonly string[]): StatementKind {
  const [first = '', second = '', third = ''] = words
  switch (first) {
    case 'BEGIN':
      return 'begin'
    case 'START':
      return second === 'TRANSACTION' ? 'begin' : 'other'
    case 'COMMIT':
    case 'END':
      return second === 'PREPARED' ? 'bare' : 'commit'
    case 'ROLLBACK':
    case 'ABORT': {
      if (second === 'PREPARED') return 'bare'
      const target = second === 'WORK' || second === 'TRANSACTION' ? third : second
      return target === 'TO' ? 'bare' : 'rollback'
    }
    case 'PREPARE':
      return second === 'TRANSACTION' ? 'bare' : 'other'
    case 'COPY':
      if (words.some((word, i) => word === 'FROM' && words[i + 1] === 'STDIN')) return 'copy'
      return words.includes('STDOUT') && !wordsWrite(words) ? 'read' : 'other'
    case 'LISTEN':
      return 'listen'
    default:
      if (BARE.has(first)) return 'bare'
      return READS.has(first) && !wordsWrite(words) ? 'read' : 'other'
  }
}

// Said too often rather than too seldom: SELECT ... FOR UPDATE is one.
function wordsWrite(words: readonly string[]): boolean {
  return words.length >= MAX_WORDS || WRITES.some((word) => words.includes(word))
}

// Where the token that begins at `at` ends: a word, something in quotes, a comment, or one character.
function tokenEnd(sql: string, at: number): number {
  const c = sql[at] ?? ''
  if (/[A-Za-z_\u0080-\uffff]/.test(c)) {
    const quote = /^[eE]'/.test(sql.slice(at, at + 2))
    return quote ? quoteEnd(sql, at + 1, true) : wordEnd(sql, at)
  }
  if (/\d/.test(c)) return wordEnd(sql, at)
  if (c === "'") return quoteEnd(sql, at, false)
  if (c === '"') return behind(sql, '"', at + 1)
  if (c === '-' && sql[at + 1] === '-') return behind(sql, '\n', at + 2)
  if (c === '/' && sql[at + 1] === '*') return commentEnd(sql, at)
  if (c === '$') return dollarEnd(sql, at)
  return at + 1
}

function wordEnd(sql: string, at: number): number {
  const word = /[\w$\u0080-\uffff]*/y
  word.lastIndex = at
  return Math.max(at + 1, at + (word.exec(sql)?.[0].length ?? 0))
}

function behind(sql: string, what: string, from: number): number {
  const found = sql.indexOf(what, from)
  return found < 0 ? sql.length : found + what.length
}

// A doubled quote is two quoted texts for us, which comes to the same.
function quoteEnd(sql: string, at: number, escapes: boolean): number {
  for (let i = at + 1; i < sql.length; i++) {
    if (escapes && sql[i] === '\\') i++
    else if (sql[i] === "'") return i + 1
  }
  return sql.length
}

function commentEnd(sql: string, at: number): number {
  let depth = 0
  for (let i = at; i < sql.length; ) {
    const two = sql.slice(i, i + 2)
    if (two === '/*') depth++
    else if (two === '*/') depth--
    i += two === '/*' || two === '*/' ? 2 : 1
    if (depth === 0) return i
  }
  return sql.length
}

function dollarEnd(sql: string, at: number): number {
  const tag = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y
  tag.lastIndex = at
  const [open] = tag.exec(sql) ?? []
  return open === undefined ? at + 1 : behind(sql, open, at + open.length)
}
