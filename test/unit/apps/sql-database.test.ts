/**
 * The node's side of the database: it is open exactly where the address is owned, whatever its thread does and whatever is heard. In the place
 * of the thread, which needs seconds to begin, stands one that does as it is told.
 */
import { EventEmitter } from 'node:events'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { DataLock } from '../../../apps/sql/data-lock.js'
import { Database } from '../../../apps/sql/database.js'
import { follow } from '../../../apps/sql/server.js'
import { type DatabaseThread, ThreadEnded } from '../../../apps/sql/thread.js'
import type { OwnershipState } from '../../../cluster/index.js'

/** After so many milliseconds, or not at all. */
type Opens = number | 'never' | 'does not begin'

/** A thread that opens the database as it was told. */
class StandIn {
  readonly ready: boolean
  readonly #opens: Opens
  #reject: ((error: Error) => void) | null = null
  ended = false

  constructor(opens: Opens) {
    this.#opens = opens
    this.ready = opens !== 'does not begin'
  }

  ask(): { id: number; result: Promise<null> } {
    const result = new Promise<null>((resolve, reject) => {
      this.#reject = reject
      if (typeof this.#opens === 'number') setTimeout(() => resolve(null), this.#opens)
    })
    return { id: 1, result }
  }

  async end(why: string): Promise<void> {
    this.ended = true
    this.#reject?.(new ThreadEnded(why))
  }
}

interface Scene {
  readonly database: Database
  readonly lock: DataLock
  readonly threads: StandIn[]
  readonly errors: string[]
}

function scene(folder: string, ...opens: Opens[]): Scene {
  const lock = new DataLock(folder, 'ours')
  const threads: StandIn[] = []
  const errors: string[] = []
  const database = new Database({
    folder,
    lock,
    openMs: 50,
    onError: ({ message }) => errors.push(message),
    newThread: () => {
      const thread = new StandIn(opens.shift() ?? 0)
      threads.push(thread)
      return thread as unknown as DatabaseThread
    },
  })
  return { database, lock, threads, errors }
}

t.test('A5: a thread that does not come to open the database is replaced', async (t) => {
  const { database, threads, errors } = scene(t.testdir(), 'does not begin', 'never', 0)
  t.teardown(() => database.close())
  database.own(1)
  await database.turns.take({}, false)
  t.equal(threads.length, 3)
  t.same(
    threads.map(({ ended }) => ended),
    [true, true, false],
  )
  t.match(errors, [
    /has not even begun in 50 ms, and is replaced for the 1\. time/,
    /has not opened the data in 100 ms, and is replaced for the 2\. time/,
  ])
  t.equal(errors.length, 2)
  t.equal(database.generation, 1)
})

t.test('A5: a node that is not the owner any more waits for no thread', async (t) => {
  const { database, threads, errors } = scene(t.testdir(), 'never', 'never')
  t.teardown(() => database.close())
  database.own(1)
  await delay(10)
  await database.disown()
  await delay(100)
  t.equal(threads.length, 2, 'the one that was opening it has made way')
  t.same(errors, [])
})

t.test(
  'A5: an owner that is cut short again and again comes to open it all the same',
  async (t) => {
    const folder = t.testdir()
    const { database, threads, errors } = scene(folder, 40)
    t.teardown(() => database.close())
    const client = {}
    const turn = database.turns.take(client, false)
    let epoch = 0
    while (database.turns.holder === null) {
      database.own(++epoch)
      await delay(10)
      if (database.turns.holder === null) database.pause()
      await delay(10)
    }
    await turn
    t.equal(threads.length, 1, 'what was begun was not thrown away')
    database.turns.end(client)
    database.pause()
    void database.turns.take(client, false)
    await delay(30)
    t.equal(database.turns.holder, null, 'nobody is let in meanwhile')
    database.own(++epoch)
    t.equal(database.generation, 2, 'clients are made known anew')
    t.equal(threads.length, 1)
    t.same(errors, [])
  },
)

t.test(
  'A5: what is kept open is closed for another owner, and for what is under way',
  async (t) => {
    const folder = t.testdir()
    const { database, threads, errors } = scene(folder)
    t.teardown(() => database.close())
    database.own(1)
    const client = {}
    await database.turns.take(client, false)
    database.pause()
    t.equal(threads.length, 2, 'a client had the session')
    database.own(2)
    await database.turns.take(client, false)
    database.turns.end(client)
    database.pause()
    t.equal(threads.length, 2)
    t.equal(database.turns.waiting, 0)
    const other = new DataLock(folder, 'ours')
    t.ok(
      await other.acquire(
        () => true,
        3,
        () => {},
      ),
    )
    t.equal(threads.length, 3, 'its thread has ended')
    t.ok(threads[1]?.ended)
    t.equal(errors.length, 1)
    t.match(errors, [/another node has the data now/])
    other.release()
  },
)

t.test('A5: whoever owned the address between two terms is not let in', async (t) => {
  const folder = t.testdir()
  const { database, errors } = scene(folder)
  t.teardown(() => database.close())
  database.own(1)
  await database.turns.take({}, false)
  database.own(3)
  const between = new DataLock(folder, 'ours')
  const wanted = (): boolean => true
  await t.rejects(
    between.acquire(wanted, 2, () => {}),
    { message: /a node of a later term/ },
  )
  t.ok(database.owned)
  t.same(errors, [])
  t.ok(await between.acquire(wanted, 4, () => {}))
  t.notOk(database.owned, 'one of a later term still is')
  between.release()
})

t.test('A5: a lock that is not held is not taken by a later term', async (t) => {
  const folder = t.testdir()
  const [held, other] = [new DataLock(folder, 'ours'), new DataLock(folder, 'ours')]
  await held.acquire(
    () => true,
    5,
    () => {},
  )
  other.raise(7)
  t.equal(
    await held.acquire(
      () => true,
      5,
      () => {},
    ),
    true,
  )
  held.release()
  other.raise(8)
  t.notOk(fs.existsSync(join(folder, 'owner.lock')))
})

t.test('A5: the database follows the ownership, reported or not', async (t) => {
  const runtime = new EventEmitter()
  const ownership = { state: 'standby' as OwnershipState, epoch: 1 }
  const heard: (number | null)[] = []
  const last = (): number | null | undefined => heard.at(-1)
  follow(runtime as unknown as Parameters<typeof follow>[0], ownership, {
    own: (epoch) => void heard.push(epoch),
    pause: () => void heard.push(-1),
    disown: async () => void heard.push(null),
  })
  const until = async (wanted: number | null): Promise<void> => {
    while (last() !== wanted) await delay(5)
  }
  t.equal(last(), null, 'at once')
  Object.assign(ownership, { state: 'owner', epoch: 2 })
  runtime.emit('report')
  t.equal(last(), 2, 'when something is reported')
  ownership.epoch = 3
  await until(3)
  for (const state of ['fenced', 'claiming'] as const) {
    ownership.state = state
    runtime.emit('report')
    t.equal(last(), -1, state)
  }
  ownership.state = 'standby'
  await until(null)
  runtime.emit('close')
  const { length } = heard
  await delay(600)
  t.equal(heard.length, length, 'and no more when the node is closed')
})

t.test('A5: a lock that cannot be let go is told, and keeps nobody from opening', async (t) => {
  const folder = t.testdir()
  const { database, errors } = scene(folder)
  t.teardown(() => database.close())
  const file = join(folder, 'owner.lock')
  database.own(1)
  await database.turns.take({}, false)
  const held = fs.readFileSync(file)
  fs.writeFileSync(file, 'half a lo')
  await database.disown()
  t.match(errors, [/cannot be read/])
  fs.writeFileSync(file, held)
  database.own(2)
  await database.turns.take({}, false)
  t.equal(errors.length, 1)
})
