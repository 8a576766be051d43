/**
 * Bad input for the database: what is no startup and no message, lengths that cannot be, half messages, and clients that keep the database
 * from others. Each is told what is wrong as PostgreSQL's protocol says, nothing of it is kept for ever, and a well-behaved client beside
 * them notices nothing. In the place of PostgreSQL itself, which needs seconds to begin, stands one that answers everything alike.
 */
import { randomFillSync } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type ClientLimits, Clients } from '../../apps/sql/client.js'
import type { Database } from '../../apps/sql/database.js'
import type { UnitRequest, UnitResult } from '../../apps/sql/jobs.js'
import { ThreadEnded } from '../../apps/sql/thread.js'
import { Turns } from '../../apps/sql/turns.js'
import {
  encode,
  encodeQuery,
  MAX_MESSAGE,
  MessageReader,
  sqlStateOf,
  text,
  uint32,
} from '../../apps/sql/wire.js'
import { Company, type Talk, talk, until } from './company.js'

const PORT = 5432

class StandIn {
  readonly turns = new Turns(60_000)
  owned = true
  generation = 1
  /** The thread ends in the middle of each unit. */
  fails = false
  readonly asked: UnitRequest[] = []
  #units = 0

  constructor() {
    this.turns.open = true
  }
  async attach() {
    return { parameters: new Uint8Array(0), refused: null }
  }
  async detach() {
    return null
  }
  unit(request: UnitRequest): { id: number; result: Promise<UnitResult> } {
    const { form } = request
    this.asked.push(request)
    if (this.fails) return { id: ++this.#units, result: this.#leave() }
    const answer = encode(form === 'simple' ? 'C' : '1', form === 'simple' ? 'SELECT 0' : '')
    const result = { answer, status: 'I' as const, skips: false, memory: null }
    return { id: ++this.#units, result: Promise.resolve(result) }
  }
  unwanted(): void {}
  restart(): void {}

  async #leave(): Promise<never> {
    this.owned = false
    this.turns.open = false
    throw new ThreadEnded('another node owns the address')
  }
}

function company(t: Test, limits: Partial<ClientLimits> = {}, databases: StandIn[] = []): Company {
  return new Company(t, (node) => {
    const standIn = new StandIn()
    databases.push(standIn)
    const database = standIn as unknown as Database
    const clients = new Clients(database, node.store, (error) => t.fail(error.message), limits)
    node.net.createServer({ allowHalfOpen: true }, (socket) => clients.serve(socket)).listen(PORT)
  })
}

/** What a client heard, a letter for each message; of a failure its SQLSTATE. */
function answers({ heard }: Talk, encryption = 0): string {
  const reader = new MessageReader(false)
  reader.push(Buffer.from(heard.slice(encryption), 'latin1'))
  let letters = heard.slice(0, encryption)
  for (let m = reader.next(); m !== null; m = reader.next()) {
    letters += m.kind === 'E' ? `E(${sqlStateOf(m.body)})` : m.kind
  }
  return letters
}

function startup(octets: Uint8Array): Buffer {
  return Buffer.concat([uint32(octets.length + 4), octets])
}

const HELLO = startup(Buffer.concat([uint32(0x30000), text('user'), text('ann'), text('')]))
const ENCRYPT = startup(uint32(80_877_103))
const SELECT = encodeQuery('select 0')

async function session(lab: Company, mayFail = false): Promise<Talk> {
  const client = talk(lab, PORT, mayFail)
  client.socket.write(HELLO)
  await until(() => answers(client) === 'RKZ', 'let in')
  client.heard = ''
  return client
}

async function goodClient(lab: Company): Promise<{ ask: () => Promise<void>; talk: Talk }> {
  await lab.owner()
  const good = await session(lab)
  const ask = async (): Promise<void> => {
    good.heard = ''
    good.socket.write(SELECT)
    await until(() => answers(good) === 'CZ', 'answered beside it')
  }
  await ask()
  return { ask, talk: good }
}

const ended = (client: Talk): boolean => client.closed || client.socket.readableEnded

/** Before a session: what is said, and what is answered before the end. */
const STRANGERS: readonly (readonly [string, Buffer, string])[] = [
  ['garbage', randomFillSync(Buffer.alloc(5000)).fill(0x7f, 0, 1), 'E(08P01)'],
  ['a hello of TLS', Buffer.from('16030100a5010000a10303', 'hex'), 'E(08P01)'],
  ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'E(08P01)'],
  ['a query before the startup', SELECT, 'E(08P01)'],
  ['no length', uint32(0, 0x30000), 'E(08P01)'],
  ['a length below its own', uint32(3, 0x30000), 'E(08P01)'],
  ['a negative length', uint32(-1), 'E(08P01)'],
  ['two billion octets', uint32(0x7fff_ffff), 'E(08P01)'],
  ['more than a startup may have', uint32(10_001), 'E(08P01)'],
  ['an empty startup', startup(Buffer.alloc(0)), 'E(08P01)'],
  ['a text without an end', startup(Buffer.from('\0\x03\0\0user\0ann')), 'E(08P01)'],
  ['more behind the end', startup(Buffer.from('\0\x03\0\0user\0ann\0\0more')), 'E(08P01)'],
  ['text that is none', startup(Buffer.from('0003000075736572' + '00ff000000', 'hex')), 'E(22021)'],
  ['no user', startup(Buffer.from('\0\x03\0\0\0')), 'E(28000)'],
  ['version 2', startup(uint32(0x20000)), 'E(0A000)'],
  ['half a cancel', startup(uint32(80_877_102, 1)), 'E(08P01)'],
  ["a cancel of nobody's", startup(uint32(80_877_102, 1, 2)), ''],
]

const LONG = encode('P', '', ';'.repeat(1024 * 1024), Buffer.alloc(2))

/** In a session. */
const SPEAKERS: readonly (readonly [string, Buffer, string])[] = [
  ['garbage', randomFillSync(Buffer.alloc(5000)).fill(0xff, 0, 1), 'E(08P01)'],
  ['a second startup', HELLO, 'E(08P01)'],
  ['a kind that there is not', encode('z', ''), 'E(08P01)'],
  ["a server's message", encode('Z', 'I'), 'E(08P01)'],
  ['a negative length', Buffer.from('51ffffffff', 'hex'), 'E(08P01)'],
  ['a length below its own', Buffer.from('5100000003', 'hex'), 'E(08P01)'],
  ['a query too long', Buffer.concat([Buffer.from('Q'), uint32(MAX_MESSAGE + 1)]), 'E(08P01)'],
  ['a query without an end', encode('Q', Buffer.from('select 1')), 'E(08P01)'],
  ['two queries in one', encode('Q', 'select 1', 'select 2'), 'E(08P01)'],
  ['a query that is no text', encode('Q', Buffer.from('ff00', 'hex')), 'E(22021)'],
  ['a password', encode('p', 'secret'), 'E(08P01)'],
  [
    'a value of minus two octets',
    encode('B', '', '', Buffer.from('00000001fffffffe0000', 'hex')),
    'E(08P01)',
  ],
  ['more values than octets', encode('B', '', '', Buffer.from('0000ffff', 'hex')), 'E(08P01)'],
  ['more types than octets', encode('P', '', '', Buffer.from('ffff', 'hex')), 'E(08P01)'],
  [
    'a query before Sync',
    Buffer.concat([encode('P', '', '', Buffer.alloc(2)), SELECT]),
    'E(08P01)',
  ],
  ['too much before Sync', Buffer.concat(Array(9).fill(LONG)), 'E(54000)'],
]

t.test('A5: bad input before a session', { timeout: 60_000 }, async (t) => {
  const lab = company(t)
  const good = await goodClient(lab)
  for (const [what, octets, answer] of STRANGERS) {
    const client = talk(lab, PORT)
    client.socket.write(octets)
    await until(() => ended(client), `refused: ${what}`)
    t.equal(answers(client), answer, what)
    await good.ask()
  }
  const asks = talk(lab, PORT)
  asks.socket.write(Buffer.concat(Array(1000).fill(ENCRYPT)))
  await until(() => ended(asks), 'refused: who asks for encryption for ever')
  t.equal(answers(asks, 3), 'NNNE(08P01)')
  const half = talk(lab, PORT)
  half.socket.write(HELLO.subarray(0, 9))
  const left = talk(lab, PORT)
  left.socket.end(HELLO.subarray(0, 9))
  await until(() => left.closed, 'let go who ended in the middle of it')
  await lab.crashOwner()
  half.socket.write(HELLO.subarray(9))
  await until(() => answers(half) === 'RKZ', 'let in by another node')
  await good.ask()
  t.equal(lab.givenUp, 0)
  for (const client of [good.talk, half]) client.socket.destroy()
})

t.test('A5: bad input in a session', { timeout: 60_000 }, async (t) => {
  const lab = company(t)
  const good = await goodClient(lab)
  for (const [what, octets, answer] of SPEAKERS) {
    const client = await session(lab, true)
    client.socket.write(octets)
    await until(() => ended(client), `refused: ${what}`)
    t.equal(answers(client), answer, what)
    client.socket.destroy()
    await good.ask()
  }
  const call = await session(lab)
  call.socket.write(Buffer.concat([encode('F', ''), encode('d', 'lost'), SELECT]))
  await until(() => answers(call) === 'E(0A000)ZCZ', 'what is not served is told, and goes on')
  const half = await session(lab)
  half.socket.write(SELECT.subarray(0, 7))
  const left = await session(lab)
  left.socket.end(SELECT.subarray(0, 7))
  await until(() => left.closed, 'let go who ended in the middle of it')
  await lab.crashOwner()
  half.socket.write(SELECT.subarray(7))
  await until(() => answers(half) === 'CZ', 'answered by another node, as its first query')
  await good.ask()
  t.equal(lab.givenUp, 0)
  for (const client of [good.talk, call, half]) client.socket.destroy()
})

t.test('A5: clients that are silent where they owe something', { timeout: 60_000 }, async (t) => {
  const lab = company(t, { startupMs: 300, idleMs: 300, silenceMs: 300, clients: 5 })
  const good = await goodClient(lab)
  const mute = talk(lab, PORT)
  await until(() => mute.closed, 'dropped who does not begin')
  const half = await session(lab)
  half.socket.write(Buffer.concat([Buffer.from('Q'), uint32(MAX_MESSAGE), Buffer.alloc(9999)]))
  await until(() => half.closed, 'dropped in the middle of a message')
  t.equal(answers(half), 'E(57P05)')
  // Whoever has begun a unit has the database, up to Sync.
  const holds = await session(lab)
  holds.socket.write(Buffer.concat([encode('P', '', '', Buffer.alloc(2)), encode('H')]))
  await until(() => answers(holds) === '1', 'begun')
  await good.ask()
  t.equal(answers(holds), '1E(25P03)', 'dropped who kept the database from others')
  const idle = [await session(lab), await session(lab), await session(lab)]
  const allowed = await session(lab)
  const more = talk(lab, PORT)
  more.socket.write(HELLO)
  await until(() => ended(more), 'refused')
  t.equal(answers(more), 'E(53300)', 'more clients than are allowed')
  await good.ask()
  for (const client of [good.talk, allowed, ...idle]) {
    t.notOk(client.closed, 'who owes nothing stays')
    client.socket.destroy()
  }
})

t.test(
  'A5 D3: the longest query does not keep the loop from turning',
  { timeout: 60_000 },
  async (t) => {
    const lab = company(t)
    const good = await goodClient(lab)
    for (const word of [';', 'a ', 'copy ']) {
      const client = await session(lab)
      const query = encodeQuery(word.repeat((MAX_MESSAGE - 5) / word.length))
      client.socket.write(query)
      let longest = 0
      while (answers(client) !== 'CZ') {
        const before = process.cpuUsage()
        await turn()
        const { user, system } = process.cpuUsage(before)
        longest = Math.max(longest, user + system)
      }
      t.ok(longest < 500_000, `'${word}': ${longest} µs`)
      client.socket.destroy()
      await good.ask()
    }
    good.talk.socket.destroy()
  },
)

t.test('A5 P20: a client that is served where the database is not is told so', async (t) => {
  const databases: StandIn[] = []
  const lab = company(t, { elsewhereMs: 100 }, databases)
  await lab.owner()
  const [waits, begins, fails] = [await session(lab), talk(lab, PORT), await session(lab)]
  const all = (change: Partial<StandIn>, open: boolean): void => {
    for (const each of databases) {
      Object.assign(each, change)
      each.turns.open = open
    }
  }
  all({ fails: true }, true)
  fails.socket.write(SELECT)
  await until(() => databases.some(({ owned }) => !owned), 'the thread has ended')
  all({ fails: false, owned: false }, false)
  waits.socket.write(SELECT)
  begins.socket.write(HELLO)
  for (const client of [waits, begins, fails]) {
    await until(() => ended(client), 'the connection ends')
    t.equal(answers(client), 'E(57P01)')
  }
  t.equal(
    databases.reduce((sum, { turns }) => sum + turns.waiting, 0),
    0,
  )
})

t.test('A5 P20: it is served when the database comes to where it is', async (t) => {
  const databases: StandIn[] = []
  const lab = company(t, {}, databases)
  await lab.owner()
  const client = await session(lab)
  for (const each of databases) each.fails = true
  client.socket.write(SELECT)
  await until(() => databases.some(({ owned }) => !owned), 'the thread has ended')
  for (const each of databases) {
    Object.assign(each, { fails: false, owned: true, generation: 2 })
    each.turns.open = true
  }
  await until(() => answers(client) === 'CZ', 'answered')
  const asked = databases.flatMap((each) => each.asked)
  t.match(asked, [{ recover: false }, { recover: true, instead: null }])
  t.equal(asked.length, 2)
})
