// hot path: no allocation per frame
/**
 * Tables of numbers that are lent out while something is in them: what a connection knows of its flight and of the holes in its
 * streams takes no memory while there is neither. Lengths are powers of two.
 */
import { Pile } from './pile.js'

/** Numbers in the tables of one length that wait here at most: half a mebibyte of each. */
const MAX_WAITING = 64 * 1024

/** A table without room. */
export const NO_TABLE = new Float64Array(0)

// By the logarithm of their length.
const waiting = Array.from({ length: 16 }, () => new Pile<Float64Array>())

/** A table of `length` numbers, a power of two up to 32,768, for the caller until it gives it back. It is not cleared. */
export function takeTable(length: number): Float64Array {
  const same = waiting[31 - Math.clz32(length)] as Pile<Float64Array>
  // allocates: as much as is in use at the same time
  return same.pop() ?? new Float64Array(length)
}

/** Gives a table back. Whoever has it must not look at it any more. */
export function giveTable(table: Float64Array): void {
  if (table === NO_TABLE) return
  const same = waiting[31 - Math.clz32(table.length)] as Pile<Float64Array>
  if (same.size * table.length < MAX_WAITING) same.push(table)
}
