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

type Opens = 'at once' | 'never' | 'does not begin'

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
      if (this.#opens === 'at once') resolve(null)
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
      const thread = new StandIn(opens.shift() ?? 'at once')
      threads.push(thread)
      return thread as unknown as DatabaseThread
    },
  })
  return { database, lock, threads, errors }
}

t.test('A5: a thread that does not come to open the database is replaced', async (t) => {
  const { database, threads, errors } = scene(t.testdir(), 'does not begin', 'never', 'at once')
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
  const ownership = { state: 'standby' as 'standby' | 'owner', epoch: 1 }
  const heard: (number | null)[] = []
  const last = (): number | null | undefined => heard.at(-1)
  follow(runtime as unknown as Parameters<typeof follow>[0], ownership, {
    own: (epoch) => void heard.push(epoch),
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
  ownership.state = 'standby'
  await until(null)
  runtime.emit('close')
  const { length } = heard
  await delay(600)
  t.equal(heard.length, length, 'and no more when the node is closed')
})
