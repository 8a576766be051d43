/**
 * Commands about lists, hashes and sets. Each element is an entry of its own, so that a long list costs no more than a short one.
 */
import {
  type Budget,
  type Command,
  type Commands,
  type Context,
  range,
  SYNTAX,
  sum,
  wholeNumber,
} from './command.js'
import { CommandError, type Entry, type Keyspace, Kind, place } from './keyspace.js'
import { array, bulk, integer, OK } from './resp.js'

function push(left: boolean, mustExist = false): Command {
  return {
    arity: -3,
    run({ keyspace }, [key = '', ...values]) {
      const known = keyspace.get(key, Kind.LIST)
      if (known === undefined && mustExist) return integer(0)
      const list = known ?? keyspace.begin(Kind.LIST)
      let { from, to } = list
      for (const value of values) keyspace.putElement(list, place(left ? --from : to++), value)
      keyspace.put(key, Kind.LIST, { ...list, from, to })
      return integer(to - from)
    },
  }
}

function pop(left: boolean): Command {
  return {
    arity: -2,
    run({ keyspace, dialect }, [key = '', countText]) {
      const list = keyspace.get(key, Kind.LIST)
      const count = countText === undefined ? 1 : wholeNumber(countText)
      if (count < 0) throw new CommandError('ERR value is out of range, must be positive')
      if (list === undefined) return countText === undefined ? dialect.nil : dialect.nilArray
      const values: string[] = []
      let { from, to } = list
      while (values.length < count && from < to) {
        const name = place(left ? from++ : --to)
        values.push(bulk(keyspace.element(list, name) ?? ''))
        keyspace.removeElement(list, name)
      }
      resize(keyspace, key, list, from, to)
      return countText === undefined ? (values[0] as string) : array(values)
    },
  }
}

// A key without elements is none.
function resize(keyspace: Keyspace, key: string, before: Entry, from: number, to: number): void {
  if (from >= to) keyspace.remove(key, before)
  else keyspace.put(key, before.kind, { ...before, from, to })
}

function slice({ keyspace, budget }: Context, key: string, start: number, stop: number): string[] {
  const list = keyspace.get(key, Kind.LIST)
  if (list === undefined) return []
  const [from, to] = range(start, stop, list.to - list.from)
  const values: string[] = []
  for (let i = from; i < to; i++) {
    const value = keyspace.element(list, place(list.from + i)) ?? ''
    take(budget, value)
    values.push(value)
  }
  return values
}

/** Where index `text` of `list` is, or undefined. */
function placeAt(list: Entry, text: string | undefined): string | undefined {
  const index = wholeNumber(text)
  const at = index < 0 ? list.to + index : list.from + index
  return at >= list.from && at < list.to ? place(at) : undefined
}

const LISTS: Commands = {
  LPUSH: push(true),
  RPUSH: push(false),
  LPUSHX: push(true, true),
  RPUSHX: push(false, true),
  LPOP: pop(true),
  RPOP: pop(false),
  LLEN: {
    arity: 2,
    run({ keyspace }, [key = '']) {
      const list = keyspace.get(key, Kind.LIST)
      return integer(list === undefined ? 0 : list.to - list.from)
    },
  },
  LRANGE: {
    arity: 4,
    run: (context, [key = '', start, stop]) =>
      array(slice(context, key, wholeNumber(start), wholeNumber(stop)).map(bulk)),
  },
  LINDEX: {
    arity: 3,
    run({ keyspace, dialect }, [key = '', index]) {
      const list = keyspace.get(key, Kind.LIST)
      if (list === undefined) return dialect.nil
      const at = placeAt(list, index)
      return dialect.bulkOrNil(at === undefined ? undefined : keyspace.element(list, at))
    },
  },
  LSET: {
    arity: 4,
    run({ keyspace }, [key = '', index, value = '']) {
      const list = keyspace.get(key, Kind.LIST)
      if (list === undefined) throw new CommandError('ERR no such key')
      const at = placeAt(list, index)
      if (at === undefined) throw new CommandError('ERR index out of range')
      keyspace.putElement(list, at, value)
      resize(keyspace, key, list, list.from, list.to)
      return OK
    },
  },
  LTRIM: {
    arity: 4,
    run({ keyspace, budget }, [key = '', start, stop]) {
      const list = keyspace.get(key, Kind.LIST)
      if (list === undefined) return OK
      const [from, to] = range(wholeNumber(start), wholeNumber(stop), list.to - list.from)
      for (let i = list.from; i < list.to; i++) budget.visit()
      for (let i = list.from; i < list.to; i++) {
        if (i < list.from + from || i >= list.from + to) keyspace.removeElement(list, place(i))
      }
      resize(keyspace, key, list, list.from + from, list.from + to)
      return OK
    },
  },
}

/** Puts elements into a hash or a set; tells how many are new. */
function insert(
  keyspace: Keyspace,
  key: string,
  kind: Kind,
  elements: Iterable<readonly [string, string]>,
): number {
  const before = keyspace.get(key, kind) ?? keyspace.begin(kind)
  let added = 0
  for (const [name, value] of elements) {
    if (keyspace.element(before, name) === undefined) added++
    keyspace.putElement(before, name, value)
  }
  keyspace.put(key, kind, { ...before, to: before.to + added })
  return added
}

function removeNamed(kind: Kind): Command {
  return {
    arity: -3,
    run({ keyspace }, [key = '', ...names]) {
      const before = keyspace.get(key, kind)
      if (before === undefined) return integer(0)
      const removed = names.filter((name) => keyspace.removeElement(before, name)).length
      if (removed > 0) resize(keyspace, key, before, 0, before.to - removed)
      return integer(removed)
    },
  }
}

function count(kind: Kind): Command {
  return { arity: 2, run: ({ keyspace }, [key = '']) => integer(keyspace.get(key, kind)?.to ?? 0) }
}

function has(kind: Kind): Command {
  return {
    arity: 3,
    run: ({ keyspace }, [key = '', name = '']) =>
      integer(elementOf(keyspace, key, kind, name) === undefined ? 0 : 1),
  }
}

function elementOf(keyspace: Keyspace, key: string, kind: Kind, name: string): string | undefined {
  const known = keyspace.get(key, kind)
  return known === undefined ? undefined : keyspace.element(known, name)
}

function all({ keyspace, budget }: Context, key: string, kind: Kind): [string, string][] {
  const known = keyspace.get(key, kind)
  const found: [string, string][] = []
  for (const element of known === undefined ? [] : keyspace.elements(known)) {
    take(budget, element[0])
    take(budget, element[1])
    found.push(element)
  }
  return found
}

// With what goes around it.
function take(budget: Budget, text: string): void {
  budget.visit()
  budget.answer(text.length + 5)
}

function pairsOf(words: readonly string[]): [string, string][] {
  if (words.length % 2 !== 0) throw new CommandError(SYNTAX)
  return words.flatMap((word, i) => (i % 2 === 0 ? [[word, words[i + 1] as string]] : []))
}

const HASHES: Commands = {
  HSET: {
    arity: -4,
    run: ({ keyspace }, [key = '', ...words]) =>
      integer(insert(keyspace, key, Kind.HASH, pairsOf(words))),
  },
  HMSET: {
    arity: -4,
    run({ keyspace }, [key = '', ...words]) {
      insert(keyspace, key, Kind.HASH, pairsOf(words))
      return OK
    },
  },
  HSETNX: {
    arity: 4,
    run({ keyspace }, [key = '', field = '', value = '']) {
      if (elementOf(keyspace, key, Kind.HASH, field) !== undefined) return integer(0)
      return integer(insert(keyspace, key, Kind.HASH, [[field, value]]))
    },
  },
  HGET: {
    arity: 3,
    run: ({ keyspace, dialect }, [key = '', field = '']) =>
      dialect.bulkOrNil(elementOf(keyspace, key, Kind.HASH, field)),
  },
  HMGET: {
    arity: -3,
    run({ keyspace, dialect }, [key = '', ...fields]) {
      const known = keyspace.get(key, Kind.HASH)
      const of = (field: string) =>
        known === undefined ? undefined : keyspace.element(known, field)
      return array(fields.map((field) => dialect.bulkOrNil(of(field))))
    },
  },
  HGETALL: {
    arity: 2,
    run: (context, [key = '']) =>
      context.dialect.map(all(context, key, Kind.HASH).flat().map(bulk)),
  },
  HKEYS: {
    arity: 2,
    run: (context, [key = '']) => array(all(context, key, Kind.HASH).map(([name]) => bulk(name))),
  },
  HVALS: {
    arity: 2,
    run: (context, [key = '']) =>
      array(all(context, key, Kind.HASH).map(([, value]) => bulk(value))),
  },
  HINCRBY: {
    arity: 4,
    run({ keyspace }, [key = '', field = '', by]) {
      const before = elementOf(keyspace, key, Kind.HASH, field)
      const after = sum(wholeNumber(before ?? '0'), wholeNumber(by))
      insert(keyspace, key, Kind.HASH, [[field, String(after)]])
      return integer(after)
    },
  },
  HDEL: removeNamed(Kind.HASH),
  HLEN: count(Kind.HASH),
  HEXISTS: has(Kind.HASH),
}

const SETS: Commands = {
  SADD: {
    arity: -3,
    run({ keyspace }, [key = '', ...members]) {
      return integer(
        insert(
          keyspace,
          key,
          Kind.SET,
          members.map((member) => [member, ''] as const),
        ),
      )
    },
  },
  SMEMBERS: {
    arity: 2,
    run: (context, [key = '']) =>
      context.dialect.set(all(context, key, Kind.SET).map(([name]) => bulk(name))),
  },
  SPOP: {
    arity: 2,
    run({ keyspace, dialect }, [key = '']) {
      const before = keyspace.get(key, Kind.SET)
      if (before === undefined) return dialect.nil
      let member = ''
      for ([member] of keyspace.elements(before)) break
      keyspace.removeElement(before, member)
      resize(keyspace, key, before, 0, before.to - 1)
      return bulk(member)
    },
  },
  SREM: removeNamed(Kind.SET),
  SCARD: count(Kind.SET),
  SISMEMBER: has(Kind.SET),
}

export const COLLECTIONS: Commands = { ...LISTS, ...HASHES, ...SETS }
