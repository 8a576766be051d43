/** Units, marks and what becomes of them when the backend is another one: on PGlite itself, in memory. */
import { PGlite } from '@electric-sql/pglite'
import t from 'tap'
import { Backend, type BackendPort } from '../../../apps/sql/backend.js'
import { UNKNOWN } from '../../../apps/sql/failures.js'
import type { UnitRequest, UnitResult } from '../../../apps/sql/jobs.js'
import { newMemory } from '../../../apps/sql/memory.js'
import { encode, encodeQuery, MessageReader, sqlStateOf, uint32 } from '../../../apps/sql/wire.js'

const db = await PGlite.create()
t.teardown(() => db.close())

let unmarked = 0
const port: BackendPort = {
  give() {},
  unmarked() {
    unmarked++
  },
}
const MEMORY = newMemory({ user: 'postgres', database: 'postgres', settings: {} })

// As another owner would have it: the database's session begins anew.
function newBackend(): Backend {
  const backend = new Backend((messages, give) => {
    db.execProtocolRawStream(messages, { syncToFs: false, onRawData: give }).catch(() => {})
  })
  backend.prepare()
  return backend
}

function request(
  unit: number,
  sql: string | Uint8Array,
  more: Partial<UnitRequest> = {},
): UnitRequest {
  const simple = typeof sql === 'string'
  return {
    connection: 'c',
    unit,
    form: simple ? 'simple' : 'extended',
    messages: simple ? encodeQuery(sql) : sql,
    recover: false,
    lost: 'I',
    partial: false,
    instead: null,
    ...more,
  }
}

/** The answer's messages as letters, and the SQLSTATE of an error. */
function brief({ answer, status }: UnitResult): string {
  const reader = new MessageReader(false)
  reader.push(answer)
  let letters = ''
  for (let m = reader.next(); m !== null; m = reader.next()) {
    letters += m.kind === 'E' ? `E(${sqlStateOf(m.body)})` : m.kind
  }
  return `${letters} ${status}`
}

t.test('A5: a unit that was committed is not carried out again', async (t) => {
  const first = newBackend()
  t.match(first.attach('c', MEMORY, 'postgres'), { refused: null })
  const run = (unit: number, sql: string, more = {}) =>
    brief(first.unit(request(unit, sql, more), port))
  t.equal(run(1, 'create table t(i int primary key)'), 'C I')
  t.equal(run(2, 'insert into t values (1) returning i'), 'TDC I')
  const next = newBackend()
  t.match(next.attach('c', MEMORY, null), { refused: null })
  const again = (unit: number, sql: string, more = {}) =>
    brief(next.unit(request(unit, sql, { recover: true, ...more }), port))
  t.equal(again(2, 'insert into t values (1) returning i'), 'TDC I', 'answered from its mark')
  t.equal(again(3, 'insert into t values (1)'), 'E(23505) I', 'another is carried out')
  t.equal(again(3, 'insert into t values (2)'), 'C I', 'and one that failed has left none')
  t.equal(again(4, 'insert into t values (3)', { instead: UNKNOWN }), 'E(08007) I', 'told instead')
  t.equal(
    again(3, 'insert into t values (2)', { instead: UNKNOWN }),
    'C I',
    'but not when it was done',
  )
  t.equal(again(5, 'select count(*) from t', { partial: true }), 'E(40001) I', 'a part has gone')
  t.equal(
    again(3, 'insert into t values (2)', { partial: true }),
    'E(08007) I',
    'a part of what was done',
  )
  t.equal(again(6, 'select i from t order by i'), 'TDDC I')
})

t.test('A5: a query with transactions in it goes on where it was', async (t) => {
  const first = newBackend()
  first.attach('c', MEMORY, 'postgres')
  const sql = 'begin; insert into t values (10); commit; insert into t values (11)'
  t.equal(brief(first.unit(request(20, 'begin; insert into t values (10); commit'), port)), 'CCC I')
  const next = newBackend()
  next.attach('c', MEMORY, null)
  t.match(brief(next.unit(request(21, sql.replace('(10)', '(12)')), port)), 'CCCC I')
})

t.test('A5: an open transaction is lost, and said to be', async (t) => {
  const backend = newBackend()
  backend.attach('c', MEMORY, null)
  const run = (unit: number, sql: string | Uint8Array, more: Partial<UnitRequest> = {}) =>
    brief(backend.unit(request(unit, sql, more), port))
  const lost = { recover: true, lost: 'T' } as const
  t.equal(run(30, 'insert into t values (30)', lost), 'E(40001) E')
  t.equal(run(31, 'select 1'), 'E(25P02) E')
  t.equal(run(32, 'rollback'), 'C I')
  t.equal(run(33, 'rollback', lost), 'C I')
  t.equal(run(34, 'commit', lost), 'E(40001) I', 'COMMIT never says that it went well')
  t.equal(run(35, 'select 1', { recover: true, lost: 'E' }), 'E(25P02) E')
  t.equal(run(36, 'commit'), 'C I')
  t.equal(run(37, 'begin'), 'C T')
  t.equal(run(38, 'insert into t values (38)'), 'C T')
  t.equal(run(39, 'commit'), 'C I')
  t.equal(run(39, 'commit', lost), 'C I', 'a COMMIT that was carried out has left a mark')
  const bound = [encode('B', '', 'none', Buffer.alloc(6)), encode('E', '', uint32(0)), encode('S')]
  t.equal(run(40, Buffer.concat(bound), lost), 'E(40001) E')
  t.equal(run(41, 'rollback'), 'C I')
})

t.test('A5: the extended protocol, with marks and statements that come back', async (t) => {
  const first = newBackend()
  first.attach('c', MEMORY, null)
  const parse = encode('P', 'ins', 'insert into t values ($1) returning i', Buffer.alloc(2))
  const value = Buffer.concat([uint32(2), Buffer.from('50')])
  const bind = encode('B', '', 'ins', Buffer.from([0, 0, 0, 1]), value, Buffer.alloc(2))
  const execute = encode('E', '', uint32(0))
  const sync = encode('S')
  const prepared = first.unit(request(50, Buffer.concat([parse, sync])), port)
  t.equal(brief(prepared), '1 I')
  t.match(prepared.memory, { statements: { ins: { query: /insert/ } } })
  const insert = Buffer.concat([bind, execute, sync])
  t.equal(brief(first.unit(request(51, insert), port)), '2DC I')
  t.equal(brief(first.unit(request(51, insert, { recover: true }), port)), '2DC I', 'from its mark')
  t.equal(brief(first.unit(request(52, insert), port)), '2E(23505) I')
  db.execProtocolRawStream(encodeQuery('deallocate all'), {
    syncToFs: false,
    onRawData() {},
  }).catch(() => {})
  const next = newBackend()
  next.attach('c', prepared.memory ?? MEMORY, null)
  t.equal(brief(next.unit(request(53, insert), port)), '2E(23505) I', 'prepared again')
  const flushed = next.unit(request(54, Buffer.concat([bind, encode('H')])), port)
  t.match(brief(flushed), /^2 /)
  t.equal(brief(next.unit(request(54, Buffer.concat([execute, sync])), port)), 'E(23505) I')
  unmarked = 0
  const vacuum = Buffer.concat([
    encode('P', '', 'vacuum t', Buffer.alloc(2)),
    encode('B', '', '', Buffer.alloc(6)),
    execute,
    sync,
  ])
  t.equal(brief(next.unit(request(55, vacuum), port)), '12C I')
  t.equal(brief(next.unit(request(56, 'vacuum t'), port)), 'C I')
  t.equal(unmarked, 2, 'what leaves no mark is told before')
})

t.test('A5: each client has its own settings', async (t) => {
  const backend = newBackend()
  for (const connection of ['a', 'b']) backend.attach(connection, MEMORY, null)
  const run = (connection: string, sql: string) =>
    backend.unit({ ...request(1, sql), connection }, port)
  t.match(run('a', "set timezone = 'Europe/Berlin'").memory, {
    settings: { TimeZone: 'Europe/Berlin' },
  })
  t.match(Buffer.from(run('b', 'show timezone').answer).toString(), /UTC|GMT/)
  t.match(Buffer.from(run('a', 'show timezone').answer).toString(), /Berlin/)
  run('a', 'prepare p as select 7')
  t.equal(brief(run('b', 'execute p')), 'E(26000) I')
  t.equal(brief(run('a', 'execute p')), 'TDC I')
  t.equal(brief(run('a', 'listen x')), 'TE(0A000) I')
  t.match(
    backend.attach(
      'x',
      newMemory({ user: 'nobody', database: 'postgres', settings: {} }),
      'postgres',
    ),
    { refused: { code: '28000' } },
  )
  t.match(backend.attach('x', MEMORY, 'elsewhere'), { refused: { code: '3D000' } })
  const bad = newMemory({ user: 'postgres', database: 'postgres', settings: { nonsense: '1' } })
  t.match(backend.attach('x', bad, 'postgres'), { refused: { fatal: true } })
})
