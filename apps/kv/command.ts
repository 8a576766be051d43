/**
 * What a command of the key-value store is, and what commands have in common: numbers, options, time.
 */
import { CommandError, type Keyspace } from './keyspace.js'
import type { Dialect } from './resp.js'

/** Octets of one answer at most: a checkpoint must have room for those that have not left. */
export const MAX_ANSWER = 1024 * 1024 + 256 * 1024
/** Entries of the store that one request may look through: it must not keep the loop busy until the node is taken for dead. */
const MAX_VISITS = 500_000

/** What one request may take, all commands of a transaction together. */
export class Budget {
  #octets = MAX_ANSWER
  #visits = MAX_VISITS

  renew(): void {
    this.#octets = MAX_ANSWER
    this.#visits = MAX_VISITS
  }

  /** An entry was looked at. Throws CommandError when there were too many. */
  visit(): void {
    if (--this.#visits < 0) throw new CommandError('ERR too much to look through in one request')
  }

  /** Text of so many octets goes into the answer. Throws CommandError when that is too long. */
  answer(octets: number): void {
    this.#octets -= octets
    if (this.#octets < 0) throw new CommandError('ERR the answer is too long')
  }
}

/** What a command works with. */
export interface Context {
  readonly keyspace: Keyspace
  readonly dialect: Dialect
  readonly budget: Budget
}

/** One command: the answer to `args`, its name left out. Throws CommandError. */
export interface Command {
  /** Arguments: exactly so many, or at least so many when negative. The name counts, as in Redis. */
  readonly arity: number
  run(context: Context, args: readonly string[]): string
}

export type Commands = Readonly<Record<string, Command>>

export const SYNTAX = 'ERR syntax error'

export function wholeNumber(text: string | undefined): number {
  const value = /^-?\d{1,16}$/.test(text ?? '') ? Number(text) : Number.NaN
  if (Number.isSafeInteger(value)) return value
  throw new CommandError('ERR value is not an integer or out of range')
}

export function realNumber(text: string | undefined): number {
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text ?? '') ? Number(text) : Number.NaN
  if (Number.isFinite(value)) return value
  throw new CommandError('ERR value is not a valid float')
}

/** `a + b`, as long as that is exact. */
export function sum(a: number, b: number): number {
  if (Number.isSafeInteger(a + b)) return a + b
  throw new CommandError('ERR increment or decrement would overflow')
}

/** The first and one behind the last of `length` that indexes mean, negative ones counted from the end. */
export function range(start: number, stop: number, length: number): [from: number, to: number] {
  const from = Math.max(start < 0 ? length + start : start, 0)
  const to = Math.min((stop < 0 ? length + stop : stop) + 1, length)
  return [from, Math.max(from, to)]
}

type Token = '*' | '?' | RegExp | { readonly literal: string }

/**
 * A pattern of KEYS and PSUBSCRIBE: `*`, `?`, `[a-c]`, `[^a]` and `\`. It takes no longer than the product of both lengths, whatever a
 * client thinks of: an expression with many stars would keep the loop busy for ever.
 */
export class Glob {
  readonly #tokens: Token[] = []

  constructor(pattern: string) {
    for (let i = 0; i < pattern.length; i++) {
      const c = pattern[i] as string
      const close = c === '[' ? pattern.indexOf(']', i + 1) : -1
      if (c === '*' || c === '?') this.#tokens.push(c)
      else if (close > 0) {
        this.#tokens.push(oneOf(pattern.slice(i + 1, close)))
        i = close
      } else {
        const literal = c === '\\' && i + 1 < pattern.length ? (pattern[++i] as string) : c
        this.#tokens.push({ literal })
      }
    }
  }

  test(text: string): boolean {
    const tokens = this.#tokens
    let at = 0
    let token = 0
    // Where the last star stands, and where what follows it is tried next.
    let star = -1
    let from = 0
    while (at < text.length) {
      const next = tokens[token]
      if (next === '*') {
        star = token++
        from = at
      } else if (next !== undefined && fits(next, text[at] as string)) {
        token++
        at++
      } else {
        if (star < 0) return false
        token = star + 1
        at = ++from
      }
    }
    while (tokens[token] === '*') token++
    return token === tokens.length
  }
}

function fits(token: Token, character: string): boolean {
  if (typeof token === 'string') return true
  return token instanceof RegExp ? token.test(character) : token.literal === character
}

// A range that ends before it begins has nothing in it.
function oneOf(text: string): RegExp {
  try {
    return new RegExp(`[${text.replace(/[\\\]]/g, '\\$&')}]`)
  } catch {
    return /[^\s\S]/
  }
}
