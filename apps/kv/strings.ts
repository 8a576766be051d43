/**
 * Commands about strings and counters.
 */
import {
  type Command,
  type Commands,
  range,
  realNumber,
  SYNTAX,
  sum,
  wholeNumber,
} from './command.js'
import { CommandError, type Keyspace, Kind } from './keyspace.js'
import { array, bulk, integer, MAX_BULK, OK } from './resp.js'

function text(keyspace: Keyspace, key: string): string | undefined {
  return keyspace.get(key, Kind.STRING)?.text
}

function change(
  keyspace: Keyspace,
  key: string,
  by: (before: string | undefined) => string,
): string {
  const before = keyspace.get(key, Kind.STRING)
  const after = by(before?.text)
  if (after.length > MAX_BULK) throw new CommandError('ERR string exceeds maximum allowed size')
  keyspace.put(key, Kind.STRING, { text: after, expiresAt: before?.expiresAt ?? 0 })
  return after
}

function add(keyspace: Keyspace, key: string, amount: number): string {
  return integer(
    Number(change(keyspace, key, (old) => String(sum(wholeNumber(old ?? '0'), amount)))),
  )
}

/** The instant that an expiry option means. */
function expiry(keyspace: Keyspace, unit: string, value: string | undefined): number {
  const number = wholeNumber(value)
  if (number <= 0) throw new CommandError("ERR invalid expire time in 'set' command")
  if (unit === 'EX') return keyspace.now + number * 1000
  if (unit === 'PX') return keyspace.now + number
  return unit === 'EXAT' ? number * 1000 : number
}

const SET: Command = {
  arity: -3,
  run({ keyspace, dialect }, [key = '', value = '', ...options]) {
    const known = keyspace.get(key)
    let expiresAt = 0
    let only: 'NX' | 'XX' | '' = ''
    let gets = false
    for (let i = 0; i < options.length; i++) {
      const option = options[i]?.toUpperCase() ?? ''
      if (option === 'NX' || option === 'XX') only = option
      else if (option === 'GET') gets = true
      else if (option === 'KEEPTTL') expiresAt = known?.expiresAt ?? 0
      else if (['EX', 'PX', 'EXAT', 'PXAT'].includes(option)) {
        expiresAt = expiry(keyspace, option, options[++i])
      } else throw new CommandError(SYNTAX)
    }
    const before = gets ? dialect.bulkOrNil(text(keyspace, key)) : ''
    if ((only === 'NX' && known !== undefined) || (only === 'XX' && known === undefined)) {
      return gets ? before : dialect.nil
    }
    if (known !== undefined && known.kind !== Kind.STRING) keyspace.remove(key, known)
    keyspace.put(key, Kind.STRING, { text: value, expiresAt })
    return gets ? before : OK
  },
}

function setFor(unit: 'EX' | 'PX'): Command {
  return {
    arity: 4,
    run: (context, [key = '', time = '', value = '']) => SET.run(context, [key, value, unit, time]),
  }
}

function setAll(keyspace: Keyspace, pairs: readonly string[]): void {
  if (pairs.length % 2 !== 0) {
    throw new CommandError("ERR wrong number of arguments for 'mset' command")
  }
  for (let i = 0; i < pairs.length; i += 2) {
    keyspace.remove(pairs[i] as string)
    keyspace.put(pairs[i] as string, Kind.STRING, { text: pairs[i + 1] as string })
  }
}

export const STRINGS: Commands = {
  SET,
  SETEX: setFor('EX'),
  PSETEX: setFor('PX'),
  SETNX: {
    arity: 3,
    run(context, [key = '', value = '']) {
      return integer(SET.run(context, [key, value, 'NX']) === OK ? 1 : 0)
    },
  },
  GET: {
    arity: 2,
    run: ({ keyspace, dialect }, [key = '']) => dialect.bulkOrNil(text(keyspace, key)),
  },
  GETSET: {
    arity: 3,
    run: (context, [key = '', value = '']) => SET.run(context, [key, value, 'GET']),
  },
  GETDEL: {
    arity: 2,
    run({ keyspace, dialect }, [key = '']) {
      const value = text(keyspace, key)
      keyspace.remove(key)
      return dialect.bulkOrNil(value)
    },
  },
  MGET: {
    arity: -2,
    run({ keyspace, dialect }, keys) {
      const of = (key: string) => {
        const entry = keyspace.get(key)
        return dialect.bulkOrNil(entry?.kind === Kind.STRING ? entry.text : undefined)
      }
      return array(keys.map(of))
    },
  },
  MSET: {
    arity: -3,
    run({ keyspace }, pairs) {
      setAll(keyspace, pairs)
      return OK
    },
  },
  MSETNX: {
    arity: -3,
    run({ keyspace }, pairs) {
      if (pairs.some((key, i) => i % 2 === 0 && keyspace.get(key) !== undefined)) return integer(0)
      setAll(keyspace, pairs)
      return integer(1)
    },
  },
  APPEND: {
    arity: 3,
    run: ({ keyspace }, [key = '', value = '']) =>
      integer(change(keyspace, key, (old = '') => old + value).length),
  },
  STRLEN: {
    arity: 2,
    run: ({ keyspace }, [key = '']) => integer(text(keyspace, key)?.length ?? 0),
  },
  GETRANGE: {
    arity: 4,
    run({ keyspace }, [key = '', start, stop]) {
      const value = text(keyspace, key) ?? ''
      return bulk(value.slice(...range(wholeNumber(start), wholeNumber(stop), value.length)))
    },
  },
  INCR: { arity: 2, run: ({ keyspace }, [key = '']) => add(keyspace, key, 1) },
  DECR: { arity: 2, run: ({ keyspace }, [key = '']) => add(keyspace, key, -1) },
  INCRBY: { arity: 3, run: ({ keyspace }, [key = '', by]) => add(keyspace, key, wholeNumber(by)) },
  DECRBY: { arity: 3, run: ({ keyspace }, [key = '', by]) => add(keyspace, key, -wholeNumber(by)) },
  INCRBYFLOAT: {
    arity: 3,
    run: ({ keyspace }, [key = '', by]) =>
      bulk(change(keyspace, key, (old = '0') => String(realNumber(old) + realNumber(by)))),
  },
}
