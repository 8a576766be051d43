/**
 * Commands about keys whatever they hold, about the connection and about the server.
 */
import {
  type Budget,
  type Command,
  type Commands,
  type Context,
  Glob,
  SYNTAX,
  wholeNumber,
} from './command.js'
import { CommandError, type Keyspace, kindName } from './keyspace.js'
import { array, bulk, integer, OK, simple } from './resp.js'

/** What INFO says, and HELLO: the version of Redis whose commands are meant. */
const REDIS_VERSION = '7.0.0'

/** Keys that INFO counts at most. */
const MAX_COUNTED = 10_000

function expire(toInstant: (now: number, value: number) => number): Command {
  return {
    arity: 3,
    run({ keyspace }, [key = '', value]) {
      const at = toInstant(keyspace.now, wholeNumber(value))
      const entry = keyspace.get(key)
      if (entry === undefined) return integer(0)
      if (at <= keyspace.now) keyspace.remove(key, entry)
      else keyspace.put(key, entry.kind, { ...entry, expiresAt: at })
      return integer(1)
    },
  }
}

function timeLeft(unitMs: number): Command {
  return {
    arity: 2,
    run({ keyspace }, [key = '']) {
      const entry = keyspace.get(key)
      if (entry === undefined) return integer(-2)
      if (entry.expiresAt === 0) return integer(-1)
      return integer(Math.ceil((entry.expiresAt - keyspace.now) / unitMs))
    },
  }
}

function removeAll(keyspace: Keyspace, keys: readonly string[]): string {
  return integer(keys.filter((key) => keyspace.remove(key)).length)
}

function rename(keyspace: Keyspace, from: string, to: string): void {
  const entry = keyspace.get(from)
  if (entry === undefined) throw new CommandError('ERR no such key')
  if (from === to) return
  keyspace.rename(from, entry, to)
}

function matching({ keyspace, budget }: Context, pattern: string): string[] {
  const wanted = new Glob(pattern)
  const found: string[] = []
  for (const key of keyspace.keys()) {
    budget.visit()
    if (!wanted.test(key)) continue
    budget.answer(key.length + 5)
    found.push(key)
  }
  return found
}

// INFO is asked for by each client that connects: it tells no more than this.
function counted(keyspace: Keyspace): number {
  let keys = 0
  for (const _key of keyspace.keys()) if (++keys === MAX_COUNTED) break
  return keys
}

function count(keyspace: Keyspace, budget: Budget): number {
  let keys = 0
  for (const _key of keyspace.keys()) {
    budget.visit()
    keys++
  }
  return keys
}

const KEYSPACE: Commands = {
  DEL: { arity: -2, run: ({ keyspace }, keys) => removeAll(keyspace, keys) },
  UNLINK: { arity: -2, run: ({ keyspace }, keys) => removeAll(keyspace, keys) },
  EXISTS: {
    arity: -2,
    run: ({ keyspace }, keys) =>
      integer(keys.filter((key) => keyspace.get(key) !== undefined).length),
  },
  TYPE: { arity: 2, run: ({ keyspace }, [key = '']) => simple(kindName(keyspace.get(key))) },
  EXPIRE: expire((now, seconds) => now + seconds * 1000),
  PEXPIRE: expire((now, ms) => now + ms),
  EXPIREAT: expire((_now, seconds) => seconds * 1000),
  PEXPIREAT: expire((_now, ms) => ms),
  TTL: timeLeft(1000),
  PTTL: timeLeft(1),
  PERSIST: {
    arity: 2,
    run({ keyspace }, [key = '']) {
      const entry = keyspace.get(key)
      if (entry === undefined || entry.expiresAt === 0) return integer(0)
      keyspace.put(key, entry.kind, { ...entry, expiresAt: 0 })
      return integer(1)
    },
  },
  RENAME: {
    arity: 3,
    run({ keyspace }, [from = '', to = '']) {
      rename(keyspace, from, to)
      return OK
    },
  },
  KEYS: {
    arity: 2,
    run: (context, [pattern = '']) => array(matching(context, pattern).map(bulk)),
  },
  // All at once, so that the cursor is always at its end: a cursor that lasts would have to survive on another node.
  SCAN: {
    arity: -2,
    run(context, [cursor, ...options]) {
      wholeNumber(cursor)
      let pattern = '*'
      for (let i = 0; i < options.length; i += 2) {
        const name = options[i]?.toUpperCase()
        if (name === 'MATCH') pattern = options[i + 1] ?? ''
        else if (name !== 'COUNT') throw new CommandError(SYNTAX)
      }
      return array([bulk('0'), array(matching(context, pattern).map(bulk))])
    },
  },
  DBSIZE: { arity: 1, run: ({ keyspace, budget }) => integer(count(keyspace, budget)) },
  FLUSHDB: { arity: -1, run: ({ keyspace }) => flush(keyspace) },
  FLUSHALL: { arity: -1, run: ({ keyspace }) => flush(keyspace) },
}

function flush(keyspace: Keyspace): string {
  keyspace.clear()
  return OK
}

const CONFIG: Readonly<Record<string, string>> = { save: '', appendonly: 'no', maxmemory: '0' }

const SERVER: Commands = {
  PING: {
    arity: -1,
    run: (_context, [text]) => (text === undefined ? simple('PONG') : bulk(text)),
  },
  ECHO: { arity: 2, run: (_context, [text = '']) => bulk(text) },
  SELECT: {
    arity: 2,
    run(_context, [index]) {
      if (wholeNumber(index) !== 0) throw new CommandError('ERR DB index is out of range')
      return OK
    },
  },
  TIME: {
    arity: 1,
    run: ({ keyspace: { now } }) =>
      array([bulk(String(Math.floor(now / 1000))), bulk(String(Math.floor(now % 1000) * 1000))]),
  },
  INFO: {
    arity: -1,
    run: ({ keyspace }) =>
      bulk(
        `# Server\r\nredis_version:${REDIS_VERSION}\r\nredis_mode:standalone\r\nserver_name:understudy\r\n\r\n` +
          `# Replication\r\nrole:master\r\n\r\n# Keyspace\r\ndb0:keys=${counted(keyspace)}\r\n`,
      ),
  },
  CONFIG: {
    arity: -2,
    run({ dialect }, [verb = '', ...patterns]) {
      if (verb.toUpperCase() !== 'GET') throw new CommandError('ERR only CONFIG GET is supported')
      const wanted = patterns.map((pattern) => new Glob(pattern.toLowerCase()))
      const found = Object.entries(CONFIG).filter(([name]) => wanted.some((one) => one.test(name)))
      return dialect.map(found.flat().map(bulk))
    },
  },
  COMMAND: {
    arity: -1,
    run: (_context, [verb = '']) => (verb.toUpperCase() === 'COUNT' ? integer(0) : array([])),
  },
  CLIENT: {
    arity: -2,
    run({ dialect }, [verb = '']) {
      if (['SETNAME', 'SETINFO'].includes(verb.toUpperCase())) return OK
      if (verb.toUpperCase() === 'GETNAME') return dialect.nil
      if (verb.toUpperCase() === 'ID') return integer(1)
      throw new CommandError(`ERR unknown subcommand '${verb}'`)
    },
  },
  HELLO: {
    arity: -1,
    run({ dialect }, [version, ...rest]) {
      if (rest.some((word) => word.toUpperCase() === 'AUTH')) {
        throw new CommandError('ERR no password is set')
      }
      if (version !== undefined && version !== '2' && version !== '3') {
        throw new CommandError('NOPROTO unsupported protocol version')
      }
      if (version !== undefined) dialect.version = version === '3' ? 3 : 2
      const fields: Record<string, string> = {
        server: bulk('redis'),
        version: bulk(REDIS_VERSION),
        proto: integer(dialect.version),
        id: integer(1),
        mode: bulk('standalone'),
        role: bulk('master'),
        modules: array([]),
      }
      return dialect.map(Object.entries(fields).flatMap(([name, value]) => [bulk(name), value]))
    },
  },
}

export const KEYS: Commands = { ...KEYSPACE, ...SERVER }
