/**
 * Commands about sorted sets. Each member is there twice: under its name with its score, and in the order of the scores, then of the names.
 */
import { type Command, type Commands, type Context, range, SYNTAX, wholeNumber } from './command.js'
import { CommandError, type Entry, type Keyspace, Kind } from './keyspace.js'
import { array, bulk, integer } from './resp.js'

const BY_NAME = 'n'
const BY_SCORE = 's'
/** Digits of a score in a name. */
const DIGITS = 16

type Scored = readonly [member: string, score: number]

function scoreOf(text: string | undefined): number {
  if (/^[+]?inf(inity)?$/i.test(text ?? '')) return Number.POSITIVE_INFINITY
  if (/^-inf(inity)?$/i.test(text ?? '')) return Number.NEGATIVE_INFINITY
  const plain = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text ?? '')
  if (!plain) throw new CommandError('ERR value is not a valid float')
  return Number(text)
}

function shown(score: number): string {
  if (Number.isFinite(score)) return String(score)
  return score > 0 ? 'inf' : '-inf'
}

const WORDS = new DataView(new ArrayBuffer(8))

/** The score as digits that sort as the numbers do. */
function digits(score: number): string {
  // There is one zero only.
  WORDS.setFloat64(0, score + 0)
  const bits = WORDS.getBigUint64(0)
  const negative = bits >> 63n === 1n
  const sorted = negative ? ~bits & 0xffff_ffff_ffff_ffffn : bits | (1n << 63n)
  return sorted.toString(16).padStart(DIGITS, '0')
}

function known(keyspace: Keyspace, of: Entry, member: string): number | undefined {
  const text = keyspace.element(of, BY_NAME + member)
  return text === undefined ? undefined : scoreOf(text)
}

function place(keyspace: Keyspace, of: Entry, member: string, score: number): void {
  keyspace.putElement(of, BY_NAME + member, shown(score))
  keyspace.putElement(of, BY_SCORE + digits(score) + member, shown(score))
}

function displace(keyspace: Keyspace, of: Entry, member: string, score: number): void {
  keyspace.removeElement(of, BY_NAME + member)
  keyspace.removeElement(of, BY_SCORE + digits(score) + member)
}

// A key without members is none.
function resize(keyspace: Keyspace, key: string, before: Entry, count: number): void {
  if (count === 0) keyspace.remove(key, before)
  else keyspace.put(key, Kind.ZSET, { ...before, to: count })
}

/** Members in their order, each looked at once. */
function* ordered({ keyspace, budget }: Context, of: Entry): Iterable<Scored> {
  for (const [name, score] of keyspace.elements(of, BY_SCORE)) {
    budget.visit()
    yield [name.slice(1 + DIGITS), scoreOf(score)]
  }
}

/** Sets the score that `next` gives from the one before, undefined: it stays. Tells how many are new, and how many have changed. */
function update(
  { keyspace }: Context,
  key: string,
  members: readonly string[],
  next: (before: number | undefined, index: number) => number | undefined,
): { added: number; changed: number } {
  const before = keyspace.get(key, Kind.ZSET) ?? keyspace.begin(Kind.ZSET)
  let added = 0
  let changed = 0
  for (const [index, member] of members.entries()) {
    const score = known(keyspace, before, member)
    const wanted = next(score, index)
    if (wanted === undefined || wanted === score) continue
    if (Number.isNaN(wanted)) throw new CommandError('ERR resulting score is not a number (NaN)')
    if (score !== undefined) displace(keyspace, before, member, score)
    place(keyspace, before, member, wanted)
    if (score === undefined) added++
    else changed++
  }
  if (added + changed > 0) keyspace.put(key, Kind.ZSET, { ...before, to: before.to + added })
  return { added, changed }
}

const ZADD: Command = {
  arity: -4,
  run(context, [key = '', ...words]) {
    const options = new Set<string>()
    while (/^(NX|XX|CH)$/i.test(words[0] ?? '')) options.add((words.shift() ?? '').toUpperCase())
    if (words.length === 0 || words.length % 2 !== 0) throw new CommandError(SYNTAX)
    if (options.has('NX') && options.has('XX')) {
      throw new CommandError('ERR XX and NX options at the same time are not compatible')
    }
    const scores = words.filter((_, i) => i % 2 === 0).map(scoreOf)
    const members = words.filter((_, i) => i % 2 === 1)
    const { added, changed } = update(context, key, members, (before, index) => {
      const allowed = before === undefined ? !options.has('XX') : !options.has('NX')
      return allowed ? scores[index] : before
    })
    return integer(options.has('CH') ? added + changed : added)
  },
}

/** Members with their scores where they are wanted. */
function answer({ dialect, budget }: Context, found: readonly Scored[], scores: boolean): string {
  const items = found.map(([member, score]) => {
    budget.answer(member.length + 25)
    return scores ? [bulk(member), dialect.double(shown(score))] : [bulk(member)]
  })
  if (scores && dialect.version === 3) return array(items.map(array))
  return array(items.flat())
}

function withScores(words: readonly string[]): boolean {
  if (words.length === 0) return false
  if (words.length === 1 && words[0]?.toUpperCase() === 'WITHSCORES') return true
  throw new CommandError(SYNTAX)
}

/** A bound of ZRANGEBYSCORE: `(` leaves it out itself. */
function bound(text: string | undefined): { score: number; open: boolean } {
  const open = text?.startsWith('(') === true
  return { score: scoreOf(open ? text?.slice(1) : text), open }
}

export const SORTED_SETS: Commands = {
  ZADD,
  ZINCRBY: {
    arity: 4,
    run(context, [key = '', by, member = '']) {
      const step = scoreOf(by)
      let after = 0
      update(context, key, [member], (before) => {
        after = (before ?? 0) + step
        return after
      })
      return context.dialect.double(shown(after))
    },
  },
  ZSCORE: {
    arity: 3,
    run({ keyspace, dialect }, [key = '', member = '']) {
      const of = keyspace.get(key, Kind.ZSET)
      const score = of === undefined ? undefined : known(keyspace, of, member)
      return score === undefined ? dialect.nil : dialect.double(shown(score))
    },
  },
  ZCARD: {
    arity: 2,
    run: ({ keyspace }, [key = '']) => integer(keyspace.get(key, Kind.ZSET)?.to ?? 0),
  },
  ZREM: {
    arity: -3,
    run({ keyspace }, [key = '', ...members]) {
      const before = keyspace.get(key, Kind.ZSET)
      if (before === undefined) return integer(0)
      let removed = 0
      for (const member of members) {
        const score = known(keyspace, before, member)
        if (score === undefined) continue
        displace(keyspace, before, member, score)
        removed++
      }
      if (removed > 0) resize(keyspace, key, before, before.to - removed)
      return integer(removed)
    },
  },
  ZPOPMIN: {
    arity: -2,
    run(context, [key = '', countText]) {
      const { keyspace, dialect } = context
      const count = countText === undefined ? 1 : wholeNumber(countText)
      if (count < 0) throw new CommandError('ERR value is out of range, must be positive')
      const before = keyspace.get(key, Kind.ZSET)
      const found: Scored[] = []
      for (const each of before === undefined || count === 0 ? [] : ordered(context, before)) {
        found.push(each)
        if (found.length === count) break
      }
      const said = answer(context, found, true)
      if (before === undefined || found.length === 0) return said
      for (const [member, score] of found) displace(keyspace, before, member, score)
      resize(keyspace, key, before, before.to - found.length)
      const [[member, score] = ['', 0]] = found
      return countText === undefined ? array([bulk(member), dialect.double(shown(score))]) : said
    },
  },
  ZRANGE: {
    arity: -4,
    run(context, [key = '', start, stop, ...words]) {
      const scores = withScores(words)
      const of = context.keyspace.get(key, Kind.ZSET)
      const [from, to] = range(wholeNumber(start), wholeNumber(stop), of?.to ?? 0)
      const found: Scored[] = []
      let at = 0
      for (const each of of === undefined || from >= to ? [] : ordered(context, of)) {
        if (at >= from) found.push(each)
        if (++at >= to) break
      }
      return answer(context, found, scores)
    },
  },
  ZRANGEBYSCORE: {
    arity: -4,
    run(context, [key = '', least, most, ...words]) {
      const scores = withScores(words)
      const [min, max] = [bound(least), bound(most)]
      const of = context.keyspace.get(key, Kind.ZSET)
      const found: Scored[] = []
      for (const each of of === undefined ? [] : ordered(context, of)) {
        const [, score] = each
        if (max.open ? score >= max.score : score > max.score) break
        if (min.open ? score > min.score : score >= min.score) found.push(each)
      }
      return answer(context, found, scores)
    },
  },
}
