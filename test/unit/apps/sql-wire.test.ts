/** The SQL server's reading of what clients send: frames, startup, statements; garbage is refused and nothing else. */
import fc from 'fast-check'
import t from 'tap'
import { readStartup } from '../../../apps/sql/memory.js'
import { ClientStatements, checkMessage, LiveStatements, nameFor } from '../../../apps/sql/names.js'
import { readOpening } from '../../../apps/sql/startup.js'
import { splitStatements } from '../../../apps/sql/statements.js'
import {
  encode,
  type Message,
  MessageReader,
  SqlProtocolError,
  text,
  uint32,
} from '../../../apps/sql/wire.js'

function readAll(reader: MessageReader): Message[] {
  const messages: Message[] = []
  for (let m = reader.next(); m !== null; m = reader.next()) messages.push(m)
  return messages
}

// True when `body` does nothing but refuse.
function onlyRefuses(body: () => void): boolean {
  try {
    body()
    return true
  } catch (error) {
    return error instanceof SqlProtocolError
  }
}

t.test('A5: messages are cut out of a stream however it comes', async (t) => {
  const messages = fc.array(
    fc.record({ kind: fc.constantFrom('Q', 'P', 'S'), body: fc.uint8Array({ maxLength: 300 }) }),
  )
  fc.assert(
    fc.property(
      messages,
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
      (sent, cuts) => {
        const stream = Buffer.concat(sent.map(({ kind, body }) => encode(kind, body)))
        const reader = new MessageReader(false, 'QPS')
        const got: Message[] = []
        for (let at = 0, i = 0; at < stream.length; i++) {
          const end = at + (cuts[i % cuts.length] ?? 1)
          reader.push(stream.subarray(at, end))
          got.push(...readAll(reader))
          at = end
        }
        if (reader.waiting !== 0 || got.length !== sent.length) return false
        return got.every(
          ({ kind, body }, i) => kind === sent[i]?.kind && Buffer.compare(body, sent[i].body) === 0,
        )
      },
    ),
  )
  t.pass('any cut')
})

t.test('A5: garbage is refused, and never more than that', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (octets, first) =>
      onlyRefuses(() => {
        const reader = new MessageReader(first, 'QPBDECSHXFdcfp')
        reader.push(octets)
        for (const message of readAll(reader)) checkMessage(message)
      }),
    ),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (octets) =>
      onlyRefuses(() => readOpening(octets)),
    ),
  )
  fc.assert(
    fc.property(fc.constantFrom(...'PBDCEQSH'), fc.uint8Array({ maxLength: 60 }), (kind, body) =>
      onlyRefuses(() => checkMessage({ kind, body })),
    ),
  )
  fc.assert(
    fc.property(fc.string({ maxLength: 80, unit: 'binary' }), (sql) => {
      splitStatements(sql)
      return true
    }),
  )
  t.pass('refused')
  const reader = new MessageReader(false)
  reader.push(Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff]))
  t.throws(() => reader.next(), /invalid message length/, 'a length that cannot be')
})

t.test('A5: the first message says what a connection is for', async (t) => {
  t.match(readOpening(uint32(80877103)), { kind: 'encryption' })
  t.match(readOpening(uint32(80877104)), { kind: 'encryption' })
  t.match(readOpening(uint32(80877102, 7, 9)), { kind: 'cancel', process: 7, key: 9 })
  const session = Buffer.concat([
    uint32(0x30000),
    ...['user', 'ann', 'options', '-c work_mem=9MB --TimeZone=UTC', 'application_name', 'x'].map(
      text,
    ),
    Buffer.from([0]),
  ])
  t.match(readOpening(session), {
    kind: 'session',
    startup: {
      user: 'ann',
      database: 'ann',
      settings: { work_mem: '9MB', TimeZone: 'UTC', application_name: 'x' },
    },
  })
  t.throws(() => readOpening(uint32(0x20000)), /there is 3.0/)
  t.throws(
    () => readOpening(Buffer.concat([uint32(0x30000), Buffer.from([0])])),
    /no PostgreSQL user name/,
  )
  t.match(readStartup(['user', 'a', 'database', 'b']), { user: 'a', database: 'b' })
})

t.test('A5: statements are told apart where transactions begin and end', async (t) => {
  const kinds = (sql: string): string[] => splitStatements(sql).map(({ kind }) => kind)
  t.same(kinds("begin; insert into t values (';'); commit"), ['begin', 'other', 'commit'])
  t.same(kinds("select $x$ ; commit; $x$, 'it''s; ', e'\\'; ' -- ; commit\n/* ; /* */ ; */ ;"), [
    'read',
  ])
  t.same(kinds('rollback to a; rollback work; abort; savepoint a; end'), [
    'bare',
    'rollback',
    'rollback',
    'bare',
    'commit',
  ])
  t.same(kinds('copy t (a, b) from stdin; copy t to stdout; listen x'), ['copy', 'read', 'listen'])
  t.same(
    kinds('with a as (select 1) select * from a; with a as (delete from t returning *) table a'),
    ['read', 'other'],
  )
  t.same(kinds('create function f() returns int begin atomic select 1; select 2; end; commit'), [
    'other',
    'commit',
  ])
  t.same(kinds(' ;; -- nothing'), [])
  t.same(kinds("start transaction; commit prepared 'x'"), ['begin', 'bare'])
})

t.test("A5: each client's prepared statements have names of their own", async (t) => {
  const live = new LiveStatements()
  const parse: Message = {
    kind: 'P',
    body: Buffer.concat([text('s'), text('select 1'), Buffer.alloc(2)]),
  }
  const bind: Message = { kind: 'B', body: Buffer.concat([text(''), text('s'), Buffer.alloc(6)]) }
  const execute: Message = { kind: 'E', body: Buffer.concat([text(''), uint32(0)]) }
  const ann = new ClientStatements('u1_', live, {})
  const batch = ann.translate([parse, bind, execute])
  t.match(batch, { missing: [], kinds: ['read'], parsed: ['s'] })
  t.ok(Buffer.from(batch.octets).includes('u1_s'))
  t.ok(ann.learn([parse, bind, execute], 1, 0))
  t.ok(live.has('u1_', 's'))
  t.notOk(live.has('u2_', 's'), 'the other client has none')
  const again = new ClientStatements('u7_', live, JSON.parse(JSON.stringify(ann.known)))
  t.match(again.translate([bind]).missing, [{ name: 's' }], 'a new owner prepares it first')
  t.notOk(again.learn([parse], 0, 0), 'what failed is not remembered')
  t.notOk(new ClientStatements('u8_', live, {}).learn([parse], 0, 0))
  const long = 'x'.repeat(63)
  t.ok(nameFor('u1_', long).length < 64)
  t.not(nameFor('u1_', `${long}a`), nameFor('u1_', `${long}b`))
  t.doesNotThrow(() =>
    again.translate([
      { kind: 'P', body: Buffer.concat([text('constructor'), text('x'), Buffer.alloc(2)]) },
    ]),
  )
})
