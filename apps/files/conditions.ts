/** Conditional requests (RFC 9110 §13): whether an answer is wanted at all, given what the client has. */
import type { IncomingHttpHeaders } from 'node:http'

/** What is known of a file; a file that is not there has none. */
export interface Validators {
  /** A strong entity tag, with its quotes. */
  readonly etag: string
  /** Milliseconds since 1970; HTTP dates have whole seconds. */
  readonly modified: number
}

export type Outcome = 'proceed' | 'not-modified' | 'failed'

/** Evaluates the conditions of a request in the order of RFC 9110 §13.2.2. `reads`: its method is GET or HEAD. */
export function evaluate(
  headers: IncomingHttpHeaders,
  file: Validators | null,
  reads: boolean,
): Outcome {
  const ifMatch = headers['if-match']
  const ifNoneMatch = headers['if-none-match']
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, file, true)) return 'failed'
  } else if (isNewer(file, headers['if-unmodified-since'])) {
    return 'failed'
  }
  if (ifNoneMatch !== undefined) {
    if (matches(ifNoneMatch, file, false)) return reads ? 'not-modified' : 'failed'
  } else if (reads && isNewer(file, headers['if-modified-since']) === false) {
    return 'not-modified'
  }
  return 'proceed'
}

/** Whether a Range field counts (RFC 9110 §13.1.5): the client's part must be of this very file. */
export function rangeApplies(ifRange: string | undefined, file: Validators): boolean {
  if (ifRange === undefined) return true
  if (ifRange.startsWith('"')) return ifRange === file.etag
  // A weak tag never does; a date only when it is exactly the file's.
  return Date.parse(ifRange) === wholeSeconds(file.modified)
}

function matches(field: string, file: Validators | null, strong: boolean): boolean {
  if (file === null) return false
  if (field.trim() === '*') return true
  const tags = field.match(/(?:W\/)?"[^"]*"/g) ?? []
  return tags.some((tag) => tag === file.etag || (!strong && tag === `W/${file.etag}`))
}

// Undefined: there is nothing to compare, or the date is none.
function isNewer(file: Validators | null, date: string | undefined): boolean | undefined {
  const then = date === undefined ? Number.NaN : Date.parse(date)
  if (file === null || Number.isNaN(then)) return undefined
  return wholeSeconds(file.modified) > then
}

function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000
}
