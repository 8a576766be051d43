/**
 * Byte ranges (RFC 9110 §14): one range of a file, from the Range field.
 */

/** What part of a file is asked for. */
export type Range =
  | { readonly kind: 'whole' }
  /** First and last octet, both included. */
  | { readonly kind: 'part'; readonly first: number; readonly last: number }
  | { readonly kind: 'unsatisfiable' }

/**
 * Reads a Range field for a file of `size` octets. A field that is malformed, or that asks for several ranges, is ignored, as
 * RFC 9110 §14.2 allows.
 */
export function parseRange(field: string | undefined, size: number): Range {
  const match = /^bytes=(\d*)-(\d*)$/.exec(field?.trim() ?? '')
  if (match === null || (match[1] === '' && match[2] === '')) return { kind: 'whole' }
  if (match[1] === '') {
    const suffix = Number(match[2])
    if (suffix === 0 || size === 0) return { kind: 'unsatisfiable' }
    return { kind: 'part', first: Math.max(size - suffix, 0), last: size - 1 }
  }
  const first = Number(match[1])
  const last = match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1)
  if (match[2] !== '' && Number(match[2]) < first) return { kind: 'whole' }
  return first >= size ? { kind: 'unsatisfiable' } : { kind: 'part', first, last }
}
