/**
 * What a command of the key-value store is, and what commands have in common: numbers, options, time.
 */
import { CommandError, type Keyspace } from './keyspace.js'
import type { Dialect } from './resp.js'

/** What a command works with. */
export interface Context {
  readonly keyspace: Keyspace
  readonly dialect: Dialect
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

/** A pattern of KEYS and PSUBSCRIBE: `*`, `?`, `[a-c]`, `[^a]` and `\`. */
export function glob(pattern: string): RegExp {
  let source = ''
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i] as string
    const close = c === '[' ? pattern.indexOf(']', i + 1) : -1
    if (c === '*') source += '[^]*'
    else if (c === '?') source += '[^]'
    else if (close > 0) {
      source += `[${pattern.slice(i + 1, close).replace(/[\\\]]/g, '\\$&')}]`
      i = close
    } else {
      const literal = c === '\\' && i + 1 < pattern.length ? (pattern[++i] as string) : c
      source += literal.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
    }
  }
  return new RegExp(`^${source}$`)
}
