/**
 * Fields of a configuration, read with what must hold of each: whoever reads says where the field stands, and how it fails.
 */

export type Fields = Readonly<Record<string, unknown>>

/** Tells of a field what is wrong with it and what to write instead; throws. */
export type Fail = (field: string, what: string) => never

/** A value as an error shows it. */
export function show(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value)
}

export function text(
  fields: Fields,
  field: string,
  example: string,
  fail: Fail,
  prefix = '',
): string {
  const found = fields[field]
  if (typeof found === 'string' && found !== '') return found
  return fail(`${prefix}${field}`, `must be a text, as "${example}", not ${show(found)}`)
}

export function integer(
  fields: Fields,
  field: string,
  least: number,
  most: number,
  what: string,
  fail: Fail,
  prefix = '',
): number {
  const found = fields[field]
  if (Number.isInteger(found) && (found as number) >= least && (found as number) <= most) {
    return found as number
  }
  return fail(`${prefix}${field}`, `must be ${what} from ${least} to ${most}, not ${show(found)}`)
}

export function flag(fields: Fields, field: string, absent: boolean, fail: Fail): boolean {
  const found = fields[field] ?? absent
  return typeof found === 'boolean'
    ? found
    : fail(field, `must be true or false, not ${show(found)}`)
}

/** One of `allowed`, the first of which is the default. */
export function choice<T extends string>(
  fields: Fields,
  field: string,
  allowed: readonly [T, ...T[]],
  fail: Fail,
  prefix = '',
): T {
  const found = fields[field] ?? allowed[0]
  if (allowed.includes(found as T)) return found as T
  return fail(`${prefix}${field}`, `must be one of ${allowed.join(', ')}, not ${show(found)}`)
}
