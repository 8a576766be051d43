/** The lock on a data directory: whose it is, and what becomes of a holder that is dead, stopped or a stranger; and the turns. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { DataLock, type Holder, lookAtProcess } from '../../../apps/sql/data-lock.js'
import { Turns } from '../../../apps/sql/turns.js'

const wanted = (): boolean => true
const nobody = (): void => {}

function hold(folder: string, pid: number, more: Partial<Holder> = {}): void {
  const boot = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  const start = lookAtProcess(pid)?.start ?? ''
  const holder = { pid, start, boot, token: 'other', epoch: 1, cluster: 'ours', ...more }
  fs.writeFileSync(join(folder, 'owner.lock'), JSON.stringify(holder))
}

t.test('A5: a dead holder of the lock keeps nobody out', async (t) => {
  const folder = t.testdir()
  const lock = new DataLock(folder, 'ours')
  hold(folder, 2 ** 30)
  t.ok(await lock.acquire(wanted, 2, nobody))
  t.ok(await lock.acquire(wanted, 2, nobody), 'what is held already')
  t.notOk(await new DataLock(folder, 'ours').acquire(() => false, 2, nobody))
  lock.release()
  t.same(fs.readdirSync(folder), [])
  hold(folder, process.pid, { start: '1' })
  t.ok(await lock.acquire(wanted, 2, nobody), 'its number is another process by now')
  lock.release()
  hold(folder, process.pid, { boot: 'another' })
  t.ok(await lock.acquire(wanted, 2, nobody), 'the host was started again')
  lock.release()
})

t.test('A5: a stopped holder is killed, a stranger never', async (t) => {
  const folder = t.testdir()
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  const ended = once(child, 'exit')
  t.teardown(() => child.kill('SIGKILL'))
  const pid = child.pid ?? 0
  hold(folder, pid, { cluster: 'theirs' })
  const lock = new DataLock(folder, 'ours')
  await t.rejects(lock.acquire(wanted, 2, nobody), {
    code: 'ERR_SQL_LOCKED',
    message: /another cluster/,
  })
  child.kill('SIGSTOP')
  while (lookAtProcess(pid)?.state !== 'T') await delay(5)
  hold(folder, pid)
  t.ok(await lock.acquire(wanted, 2, nobody))
  t.match(await ended, [null, 'SIGKILL'])
})

t.test('A5: who has a later term is let in, and who has an earlier one is not', async (t) => {
  const folder = t.testdir()
  const [old, next] = [new DataLock(folder, 'ours'), new DataLock(folder, 'ours')]
  let asked = 0
  const letGo = (): void => {
    asked++
    old.release()
  }
  t.ok(await old.acquire(wanted, 1, letGo))
  t.ok(await next.acquire(wanted, 2, nobody))
  t.equal(asked, 1)
  await t.rejects(old.acquire(wanted, 1, nobody), { message: /later term/ })
  next.release()
})

t.test('A5: turns go by order, begun work first, and not for ever', async (t) => {
  const turns = new Turns(50)
  const [a, b, c] = [{}, {}, {}]
  const order: string[] = []
  const take = (who: object, name: string, first = false) =>
    turns.take(who, first).then(() => order.push(name))
  const taken = [take(a, 'a'), take(b, 'b'), take(c, 'c', true)]
  t.equal(turns.holder, null, 'nobody while the database is not open')
  turns.open = true
  for (const who of [c, a, b]) {
    await delay(1)
    t.equal(turns.holder, who)
    turns.end(who)
  }
  await Promise.all(taken)
  t.same(order, ['c', 'a', 'b'])
  await turns.take(a, false)
  await turns.take(a, false)
  await t.rejects(turns.take(b, false), /busy with other clients/)
  t.equal(turns.waiting, 0)
})
