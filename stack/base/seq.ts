// hot path: no allocation per frame
/**
 * TCP sequence numbers: arithmetic modulo 2^32 (RFC 9293 §3.4).
 *
 * A sequence number is held as a signed 32-bit integer, because V8 keeps such values unboxed; it is printed
 * with `>>> 0`. Never compare two of them with `<`: use the functions below, which are right as long as the two
 * numbers lie within 2^31 of each other.
 */

/** A TCP sequence number as a signed 32-bit integer. */
export type Seq = number & { readonly __seq: unique symbol }

/** Takes any integer modulo 2^32 as a sequence number. */
export function seq(n: number): Seq {
  return (n | 0) as Seq
}

/** The sequence number 0. */
export const ZERO = seq(0)

/** `a + n`, where `n` is a count of octets. */
export function add(a: Seq, n: number): Seq {
  return ((a + n) | 0) as Seq
}

/** How far `a` lies ahead of `b`, in octets: negative when it lies behind. */
export function diff(a: Seq, b: Seq): number {
  return (a - b) | 0
}

/** True when `a` comes before `b`. */
export function lt(a: Seq, b: Seq): boolean {
  return ((a - b) | 0) < 0
}

/** True when `a` comes before `b` or is `b`. */
export function le(a: Seq, b: Seq): boolean {
  return ((a - b) | 0) <= 0
}

/** True when `a` comes after `b`. */
export function gt(a: Seq, b: Seq): boolean {
  return ((a - b) | 0) > 0
}

/** True when `a` comes after `b` or is `b`. */
export function ge(a: Seq, b: Seq): boolean {
  return ((a - b) | 0) >= 0
}

/** The later of the two. */
export function max(a: Seq, b: Seq): Seq {
  return ((a - b) | 0) >= 0 ? a : b
}

/** The earlier of the two. */
export function min(a: Seq, b: Seq): Seq {
  return ((a - b) | 0) <= 0 ? a : b
}

/** True when `left <= x < left + size`, for `size` in 0 .. 2^31 - 1. */
export function inWindow(x: Seq, left: Seq, size: number): boolean {
  const distance = (x - left) | 0
  return distance >= 0 && distance < size
}
