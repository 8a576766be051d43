/**
 * The key-value store (A4) without a network: what it answers, request by request, and what of a session a next owner gets.
 */
import t, { type Test } from 'tap'
import { Channels } from '../../../apps/kv/channels.js'
import { Budget, Glob } from '../../../apps/kv/command.js'
import { Keyspace } from '../../../apps/kv/keyspace.js'
import { MAX_BULK, MAX_REQUEST, RequestReader } from '../../../apps/kv/resp.js'
import { Session } from '../../../apps/kv/session.js'
import { MemoryCheckpointStore } from '../../../cluster/memory-store.js'

class World {
  now = 1_700_000_000_000
  readonly store = new MemoryCheckpointStore()
  readonly channels = new Channels()
  readonly keyspace = new Keyspace(this.store.open<Uint8Array>('kv'), () => this.now)

  session(): Session & { readonly heard: string[] } {
    const heard: string[] = []
    const session = new Session(this.keyspace, this.channels, (message) => heard.push(message))
    return Object.assign(session, { heard })
  }
}

/** Each request as words, and the answer with `|` for the ends of lines. */
function asks(t: Test, session: Session, script: readonly (readonly [string, string])[]): void {
  for (const [request, wanted] of script) {
    const answer = session.answer(request === '' ? [] : request.split(' '))
    t.equal(answer.replaceAll('\r\n', '|'), wanted === '' ? '' : `${wanted}|`, request)
  }
}

t.test('A4: strings, counters and keys', (t) => {
  const world = new World()
  asks(t, world.session(), [
    ['PING', '+PONG'],
    ['get nothing', '$-1'],
    ['SET a 1', '+OK'],
    ['SET a 2 NX', '$-1'],
    ['SET a 2 XX GET', '$1|1'],
    ['INCR a', ':3'],
    ['DECRBY a 10', ':-7'],
    ['INCRBYFLOAT a 1.5', '$4|-5.5'],
    ['INCR a', '-ERR value is not an integer or out of range'],
    ['SET big 9007199254740991', '+OK'],
    ['INCR big', '-ERR increment or decrement would overflow'],
    ['APPEND b xyz', ':3'],
    ['APPEND b 1', ':4'],
    ['GETRANGE b 1 -2', '$2|yz'],
    ['STRLEN b', ':4'],
    ['MSET c 1 d 2', '+OK'],
    ['MSETNX d 3 e 3', ':0'],
    ['MGET c d e', '*3|$1|1|$1|2|$-1'],
    ['SETNX c 5', ':0'],
    ['GETSET c 6', '$1|1'],
    ['GETDEL c', '$1|6'],
    ['EXISTS c d d', ':2'],
    ['TYPE d', '+string'],
    ['TYPE c', '+none'],
    ['RENAME d f', '+OK'],
    ['GET f', '$1|2'],
    ['KEYS ?', '*3|$1|a|$1|b|$1|f'],
    ['DEL a f', ':2'],
    ['DBSIZE', ':2'],
    ['LPUSH b x', '-WRONGTYPE Operation against a key holding the wrong kind of value'],
    ['NOPE 1 2', "-ERR unknown command 'NOPE', with args beginning with: '1' '2'"],
    ['GET', "-ERR wrong number of arguments for 'get' command"],
    ['SET k v NONSENSE', '-ERR syntax error'],
    ['FLUSHALL', '+OK'],
    ['KEYS *', '*0'],
    ['', ''],
  ])
  t.end()
})

t.test('A4: keys expire', (t) => {
  const world = new World()
  const session = world.session()
  asks(t, session, [
    ['SET a 1 EX 10', '+OK'],
    ['TTL a', ':10'],
    ['PEXPIRE a 2500', ':1'],
    ['PTTL a', ':2500'],
    ['PERSIST a', ':1'],
    ['TTL a', ':-1'],
    ['TTL b', ':-2'],
    ['EXPIRE b 5', ':0'],
    ['PSETEX a 100 x', '+OK'],
    ['SET a y KEEPTTL', '+OK'],
    ['PTTL a', ':100'],
    ['LPUSH l 1', ':1'],
    ['EXPIRE l 1', ':1'],
    ['SET z 1 EX 0', "-ERR invalid expire time in 'set' command"],
  ])
  world.now += 1001
  asks(t, session, [
    ['GET a', '$-1'],
    ['LLEN l', ':0'],
    ['DBSIZE', ':0'],
    ['LPUSH l 9', ':1'],
    ['LRANGE l 0 -1', '*1|$1|9'],
  ])
  t.end()
})

t.test('A4: lists, hashes and sets', (t) => {
  const world = new World()
  asks(t, world.session(), [
    ['RPUSH l a b c', ':3'],
    ['LPUSH l z', ':4'],
    ['LRANGE l 0 -1', '*4|$1|z|$1|a|$1|b|$1|c'],
    ['LINDEX l -1', '$1|c'],
    ['LINDEX l 9', '$-1'],
    ['LSET l 0 y', '+OK'],
    ['LPOP l', '$1|y'],
    ['RPOP l 2', '*2|$1|c|$1|b'],
    ['LTRIM l 0 0', '+OK'],
    ['LPOP l', '$1|a'],
    ['EXISTS l', ':0'],
    ['LPOP l', '$-1'],
    ['RPUSHX l a', ':0'],
    ['HSET h f 1 g 2', ':2'],
    ['HSET h f 3', ':0'],
    ['HGET h f', '$1|3'],
    ['HMGET h f x', '*2|$1|3|$-1'],
    ['HINCRBY h n 5', ':5'],
    ['HGETALL h', '*6|$1|f|$1|3|$1|g|$1|2|$1|n|$1|5'],
    ['HDEL h f x', ':1'],
    ['HLEN h', ':2'],
    ['HEXISTS h f', ':0'],
    ['RENAME h i', '+OK'],
    ['HKEYS i', '*2|$1|g|$1|n'],
    ['HGET h g', '$-1'],
    ['SADD s x y x', ':2'],
    ['SCARD s', ':2'],
    ['SISMEMBER s y', ':1'],
    ['SREM s y', ':1'],
    ['SMEMBERS s', '*1|$1|x'],
    ['SPOP s', '$1|x'],
    ['TYPE s', '+none'],
    ['DEL i', ':1'],
    ['HGETALL i', '*0'],
  ])
  t.end()
})

t.test('A4: sorted sets', (t) => {
  const world = new World()
  const session = world.session()
  asks(t, session, [
    ['ZADD z 2 b 1 a -3.5 c', ':3'],
    ['ZADD z 2 b 5 a', ':0'],
    ['ZADD z CH 2 b 1 a', ':1'],
    ['ZADD z NX 9 a 0 d', ':1'],
    ['ZADD z XX 9 e', ':0'],
    ['ZADD z NX XX 9 e', '-ERR XX and NX options at the same time are not compatible'],
    ['ZADD z 1', "-ERR wrong number of arguments for 'zadd' command"],
    ['ZADD z 1 a 2', '-ERR syntax error'],
    ['ZADD z x a', '-ERR value is not a valid float'],
    ['TYPE z', '+zset'],
    ['ZCARD z', ':4'],
    ['ZRANGE z 0 -1 WITHSCORES', '*8|$1|c|$4|-3.5|$1|d|$1|0|$1|a|$1|1|$1|b|$1|2'],
    ['ZRANGE z 1 2', '*2|$1|d|$1|a'],
    ['ZRANGE z 5 9', '*0'],
    ['ZRANGEBYSCORE z (0 +inf', '*2|$1|a|$1|b'],
    ['ZRANGEBYSCORE z -inf (1 WITHSCORES', '*4|$1|c|$4|-3.5|$1|d|$1|0'],
    ['ZINCRBY z 2.5 c', '$2|-1'],
    ['ZINCRBY z inf e', '$3|inf'],
    ['ZINCRBY z -inf e', '-ERR resulting score is not a number (NaN)'],
    ['ZSCORE z e', '$3|inf'],
    ['ZSCORE z nobody', '$-1'],
    ['ZREM z e nobody', ':1'],
    ['ZPOPMIN z', '*2|$1|c|$2|-1'],
    ['ZPOPMIN z 2', '*4|$1|d|$1|0|$1|a|$1|1'],
    ['ZPOPMIN z 9', '*2|$1|b|$1|2'],
    ['ZPOPMIN z', '*0'],
    ['EXISTS z', ':0'],
    ['SET s x', '+OK'],
    ['ZADD s 1 a', '-WRONGTYPE Operation against a key holding the wrong kind of value'],
  ])
  for (let i = 0; i < 50; i++) session.answer(['ZADD', 'many', String(1e5 - i * i * i), `m${i}`])
  const ordered = session.answer(['ZRANGE', 'many', '0', '-1'])
  const wanted = Array.from({ length: 50 }, (_, i) => `m${49 - i}`)
  t.same(ordered.match(/m\d+/g), wanted, 'negative scores and large ones')
  session.answer(['HELLO', '3'])
  asks(t, session, [
    ['ZADD z 1.5 a', ':1'],
    ['ZRANGE z 0 -1 WITHSCORES', '*1|*2|$1|a|,1.5'],
    ['ZPOPMIN z', '*2|$1|a|,1.5'],
  ])
  t.end()
})

t.test('A4: transactions, also across a take-over', (t) => {
  const world = new World()
  const [first, other] = [world.session(), world.session()]
  asks(t, first, [
    ['EXEC', '-ERR EXEC without MULTI'],
    ['SET a 1', '+OK'],
    ['WATCH a', '+OK'],
    ['MULTI', '+OK'],
    ['MULTI', '-ERR MULTI calls can not be nested'],
  ])
  asks(t, first, [
    ['DISCARD', '+OK'],
    ['WATCH a', '+OK'],
    ['MULTI', '+OK'],
    ['INCR a', '+QUEUED'],
  ])
  const next = world.session()
  next.restore(JSON.parse(JSON.stringify(first.state)))
  asks(t, next, [
    ['LPUSH l x', '+QUEUED'],
    ['EXEC', '*2|:2|:1'],
  ])
  t.equal(next.state, null, 'nothing is under way any more')
  asks(t, next, [
    ['WATCH a', '+OK'],
    ['MULTI', '+OK'],
    ['INCR a', '+QUEUED'],
  ])
  asks(t, other, [['SET a 2', '+OK']])
  asks(t, next, [
    ['EXEC', '*-1'],
    ['GET a', '$1|2'],
    ['MULTI', '+OK'],
    ['NOPE', "-ERR unknown command 'NOPE', with args beginning with: "],
    ['INCR a', '+QUEUED'],
    ['EXEC', '-EXECABORT Transaction discarded because of previous errors.'],
    ['GET a', '$1|2'],
  ])
  t.end()
})

t.test('A4: channels and patterns, RESP2 and RESP3', (t) => {
  const world = new World()
  const [hearer, third, speaker] = [world.session(), world.session(), world.session()]
  asks(t, hearer, [
    ['SUBSCRIBE news', '*3|$9|subscribe|$4|news|:1'],
    ['PSUBSCRIBE n*s', '*3|$10|psubscribe|$3|n*s|:2'],
    [
      'GET a',
      "-ERR Can't execute 'get': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT are allowed in this context",
    ],
  ])
  third.answer(['HELLO', '3'])
  asks(t, third, [['SUBSCRIBE news', '>3|$9|subscribe|$4|news|:1']])
  asks(t, speaker, [['PUBLISH news hi', ':3']])
  t.same(hearer.heard, [
    '*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n',
    '*4\r\n$8\r\npmessage\r\n$3\r\nn*s\r\n$4\r\nnews\r\n$2\r\nhi\r\n',
  ])
  t.same(third.heard, ['>3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n'])
  asks(t, third, [['GET a', '_']])
  const elsewhere = new World()
  const resumed = elsewhere.session()
  resumed.restore(JSON.parse(JSON.stringify(hearer.state)))
  asks(t, elsewhere.session(), [['PUBLISH news hi', ':2']])
  hearer.end()
  asks(t, speaker, [['PUBLISH news hi', ':1']])
  asks(t, third, [['UNSUBSCRIBE', '>3|$11|unsubscribe|$4|news|:0']])
  t.end()
})

t.test('A4: requests in any pieces; what is none is refused', (t) => {
  const text =
    '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\r\n\x00\xff\r\nPING  x \r\n*0\r\n*1\r\n$4\r\nPING\r\n'
  const bytes = Buffer.from(text, 'latin1')
  for (const size of [1, 2, 3, 7, 1000]) {
    const reader = new RequestReader()
    const found: string[][] = []
    for (let at = 0; at < bytes.length; at += size) {
      reader.push(bytes.subarray(at, at + size))
      for (let r = reader.next(); r !== null; r = reader.next()) found.push(r)
    }
    t.same(found, [['SET', 'a', '\r\n\x00\xff'], ['PING', 'x'], [], ['PING']], `pieces of ${size}`)
    t.equal(reader.waiting, 0)
  }
  const bad = [
    '*x\r\n',
    '*1\r\n:1\r\n',
    `*1\r\n$${MAX_BULK + 1}\r\n`,
    '*1\r\n$-1\r\n',
    '*99999999\r\n',
    `*${'1'.repeat(70_000)}`,
    'x'.repeat(70_000),
  ]
  for (const text of bad) {
    const reader = new RequestReader()
    reader.push(Buffer.from(text))
    t.throws(() => reader.next(), { message: /invalid|expected|too big/ }, text.slice(0, 20))
  }
  t.end()
})

t.test('A4: what is removed is gone at once, and is cleared away a little at a time', (t) => {
  const world = new World()
  const table = world.store.open<Uint8Array>('kv')
  const inStore = (): number => [...table.entries()].length
  const session = world.session()
  const fill = (key: string): void => {
    for (let i = 0; i < 500; i++) session.answer(['RPUSH', key, `v${i}`])
  }
  fill('a')
  asks(t, session, [
    ['DEL a', ':1'],
    ['EXISTS a', ':0'],
    ['LLEN a', ':0'],
    ['RPUSH a new', ':1'],
    ['LRANGE a 0 -1', '*1|$3|new'],
  ])
  t.ok(inStore() > 500, 'the old elements are still in the store')
  world.keyspace.sweep(100)
  t.notOk(world.keyspace.swept)
  while (!world.keyspace.swept) world.keyspace.sweep(100)
  t.equal(inStore(), 2, 'the key and its element')
  asks(t, session, [['LRANGE a 0 -1', '*1|$3|new']])

  fill('b')
  session.answer(['SET', 'c', '1'])
  asks(t, session, [
    ['RENAME b d', '+OK'],
    ['LINDEX d -1', '$4|v499'],
    ['DBSIZE', ':3'],
    ['FLUSHALL', '+OK'],
    ['DBSIZE', ':0'],
    ['LLEN d', ':0'],
    ['SET c 2', '+OK'],
  ])
  // Another node goes on from the store.
  const next = new Keyspace(table, () => world.now)
  while (!next.swept) next.sweep(100)
  t.same([...next.keys()], ['c'])
  t.equal(inStore(), 2, 'the reign, and the key')
  t.end()
})

t.test(
  'A4: a request is looked at once, whatever pieces it comes in, and is no longer than allowed',
  (t) => {
    const words = Array.from({ length: 20_000 }, (_, i) => `w${i}`)
    const text = words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')
    const bytes = Buffer.from(`*${words.length}\r\n${text}PING\r\n`)
    const reader = new RequestReader()
    // Octet by octet: parsed from its beginning each time it would take hours.
    for (let at = 0; at < bytes.length - 6; at++) {
      reader.push(bytes.subarray(at, at + 1))
      if (at < bytes.length - 7 && reader.next() !== null) t.fail(`a request at ${at}`)
    }
    t.equal(reader.waiting, bytes.length - 6, 'none of it is consumed before it is whole')
    t.same(reader.next(), words)
    t.equal(reader.waiting, 0)
    reader.push(bytes.subarray(bytes.length - 6))
    t.same(reader.next(), ['PING'])

    const large = new RequestReader()
    large.push(Buffer.from('*100\r\n'))
    const word = Buffer.from(`$${MAX_BULK}\r\n${'x'.repeat(MAX_BULK)}\r\n`)
    t.throws(
      () => {
        for (let i = 0; i < 100; i++) {
          large.push(word)
          t.equal(large.next(), null)
          t.ok(large.waiting <= MAX_REQUEST)
        }
      },
      { message: 'too big request' },
    )
    t.end()
  },
)

t.test('A4: a pattern takes no time, whatever is in it', (t) => {
  const matches: [string, string, boolean][] = [
    ['*', '', true],
    ['', '', true],
    ['', 'a', false],
    ['a*c', 'abcbc', true],
    ['a*c', 'abcb', false],
    ['a?c', 'abc', true],
    ['a?c', 'ac', false],
    ['[a-c]x', 'bx', true],
    ['[^a-c]x', 'bx', false],
    ['[z-a]x', 'zx', false],
    ['\\*a', '*a', true],
    ['\\*a', 'ba', false],
    ['**a**b**', 'xaxbx', true],
    ['[', '[', true],
    ['a.c', 'abc', false],
  ]
  for (const [pattern, text, wanted] of matches) {
    t.equal(new Glob(pattern).test(text), wanted, `${pattern} and ${text}`)
  }
  // An expression of this shape would go on for longer than anybody waits.
  t.equal(new Glob(`${'*a'.repeat(300)}*b`).test('a'.repeat(700)), false)
  t.end()
})

t.test('A4: no request keeps the loop busy, or its checkpoint full', (t) => {
  const world = new World()
  const session = world.session()
  for (let i = 0; i < 3; i++) session.answer(['RPUSH', 'a', 'x'.repeat(500_000)])
  asks(t, session, [
    ['LRANGE a 0 -1', '-ERR the answer is too long'],
    ['LLEN a', ':3'],
    ['MULTI', '+OK'],
    ['LRANGE a 0 0', '+QUEUED'],
    ['LRANGE a 0 1', '+QUEUED'],
  ])
  t.match(
    session.answer(['EXEC']),
    /^\*2\r\n\*1\r\n\$500000\r\nx+\r\n-ERR the answer is too long\r\n$/,
  )
  t.equal(session.answer(['LRANGE', 'a', '0', '0']).length, 500_000 + 15, 'the next one may again')
  session.answer(['MULTI'])
  t.match(session.answer(['SET', 'k', 'x'.repeat(1_000_000)]), /QUEUED/)
  t.match(session.answer(['SET', 'k', 'x'.repeat(1_000_000)]), /too many queued/)
  t.match(session.answer(['EXEC']), /^-EXECABORT/)
  t.match(session.answer(['WATCH', ...Array(1001).fill('k')]), /1000 keys at most/)
  const budget = new Budget()
  t.throws(
    () => {
      for (let i = 0; i < 1_000_000; i++) budget.visit()
    },
    { message: /too much to look through/ },
  )
  budget.renew()
  budget.visit()
  t.end()
})
