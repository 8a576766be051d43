/**
 * Driver: when turns happen and what they do; whose errors end it; what keeps the process alive.
 */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { AssertionFailure } from '../../../stack/base/assert.js'
import { NEVER } from '../../../stack/index.js'
import { type Driven, Driver, type Participant } from '../../../stack/io/driver.js'
import { systemClock } from '../../../stack/io/system-clock.js'
import { SystemRng } from '../../../stack/io/system-rng.js'
import { newLoopback } from '../../../stack/socket/loopback.js'
import { Frame } from '../../../stack/wire/frame.js'
import { listening } from './world.js'

/** A stack that does nothing but keep a log. */
class Idle implements Driven<string> {
  readonly log: string[] = []
  readonly txNic = null
  deadline = NEVER
  ready: { events: number; context: unknown }[] = []
  failing = false

  receive(nic: string): void {
    this.log.push(`receive ${nic}`)
    if (this.failing) throw new AssertionFailure('broken')
  }

  pollTransmit(): null {
    this.log.push('transmit')
    return null
  }

  handleTimeout(): void {
    this.log.push('timeout')
    this.deadline = NEVER
  }

  nextDeadline(): number {
    return this.deadline
  }

  pollReady(): { events: number; context: unknown } | null {
    return this.ready.shift() ?? null
  }

  pollAccept(): null {
    return null
  }
}

class Link {
  readonly mac = 2
  readonly mtu = 1500
  readonly offload = { checksum: false, tso: false, uso: false }
  sink: { onFrame(frame: Frame): void; onBatchEnd(): void } | null = null
  closed = false
  flushed = 0
  drain(): boolean {
    return true
  }
  transmit(): boolean {
    return true
  }
  flush(): void {
    this.flushed++
  }
  attach(sink: NonNullable<Link['sink']>): void {
    this.sink = sink
  }
  close(): void {
    this.closed = true
  }
}

function parts(onFailure?: (error: unknown) => void) {
  const stack = new Idle()
  const link = new Link()
  const driver = new Driver<string>(stack, systemClock, onFailure ? { onFailure } : {})
  driver.attach('nic', link)
  return { stack, link, driver }
}

t.test('clock never goes back, random numbers differ', async (t) => {
  const rng = new SystemRng()
  const seen = new Set<number>()
  let last = 0
  for (let i = 0; i < 1000; i++) {
    const now = systemClock.now()
    t.ok(now >= last) || t.fail(`${now} < ${last}`)
    last = now
    const n = rng.u32()
    if (!Number.isInteger(n) || n < 0 || n > 0xffff_ffff) t.fail(`${n} is no u32`)
    seen.add(n)
  }
  t.ok(Math.abs(last - Date.now()) < 1000, 'counts from the Unix epoch')
  t.ok(seen.size > 990)
})

t.test(
  'thousands of connections with news do not keep the loop from turning, nor what is ready from being sent',
  async (t) => {
    const { stack, link } = parts()
    let now = 1000
    const driver = new Driver<string>(stack, { now: () => now })
    driver.attach('nic', link)
    let told = 0
    const context = {
      handleReady: (): void => {
        told++
        now += 0.5
      },
    }
    for (let i = 0; i < 1000; i++) stack.ready.push({ events: 1, context })
    driver.kick()
    await new Promise(setImmediate)
    t.ok(told > 0 && told < 200, `${told} told in the first turn`)
    t.ok(stack.log.length > 0, 'and those were served')
    const before = told
    stack.ready.push({ events: 1, context })
    driver.handleBatch(now)
    t.equal(told, before, 'a batch that comes in goes behind the rest')
    while (told < 1001 && stack.log.length < 1000) await new Promise(setImmediate)
    t.equal(told, 1001)
    driver.close()
  },
)

t.test('what waits in the device is heard before a timeout that it may settle', async (t) => {
  const { stack, link, driver } = parts()
  let waiting = 6
  link.drain = () => {
    link.sink?.onFrame(new Frame(100))
    link.sink?.onBatchEnd()
    return --waiting === 3
  }
  // The acknowledgement that is waited for comes with the third frame.
  stack.receive = (nic) => {
    stack.log.push(`receive ${nic}`)
    if (stack.log.filter((entry) => entry.startsWith('receive')).length === 3)
      stack.deadline = NEVER
  }
  stack.deadline = driver.now() + 5
  driver.kick()
  const held = setTimeout(() => {}, 100)
  await delay(40)
  clearTimeout(held)
  t.equal(waiting, 3, 'until nothing waits')
  t.notOk(stack.log.includes('timeout'), stack.log.join(', '))
  // A device that always has more does not put a timeout off for ever.
  link.drain = () => {
    link.sink?.onFrame(new Frame(100))
    return false
  }
  stack.deadline = driver.now() + 5
  driver.kick()
  const again = setTimeout(() => {}, 100)
  await delay(40)
  clearTimeout(again)
  t.ok(stack.log.includes('timeout'))
  // One that is closed by what it hears is not asked on.
  stack.log.length = 0
  link.drain = () => {
    driver.close()
    return true
  }
  stack.deadline = driver.now() + 5
  driver.kick()
  const last = setTimeout(() => {}, 100)
  await delay(40)
  clearTimeout(last)
  t.ok(link.closed)
  t.notOk(stack.log.includes('timeout'))
})

t.test('kicks in one tick make one turn; a deadline makes one, too', async (t) => {
  const { stack, link, driver } = parts()
  driver.kick()
  driver.kick()
  await delay(1)
  t.same(stack.log, ['transmit'])
  t.equal(link.flushed, 1)
  stack.deadline = driver.now() + 10
  driver.kick()
  const held = setTimeout(() => {}, 100)
  await delay(40)
  clearTimeout(held)
  t.same(stack.log, ['transmit', 'transmit', 'timeout', 'transmit'])
  driver.close()
  t.ok(link.closed)
  driver.kick()
  await delay(1)
  t.equal(stack.log.length, 4)
})

t.test('a batch: frames, participants, news, and in the end what is to be sent', async (t) => {
  const { stack, link, driver } = parts()
  const participant: Participant = {
    nextDeadline: () => NEVER,
    handleTimeout: () => {},
    afterReceive: () => stack.log.push('afterReceive'),
    beforeTransmit: () => stack.log.push('beforeTransmit'),
  }
  driver.addParticipant(participant)
  await delay(1)
  stack.log.length = 0
  const frame = new Frame(2048)
  link.sink?.onFrame(frame)
  link.sink?.onFrame(frame)
  link.sink?.onBatchEnd()
  t.same(stack.log, ['receive nic', 'receive nic', 'afterReceive', 'beforeTransmit', 'transmit'])
  stack.log.length = 0
  const handleReady = (events: number) => {
    stack.log.push(`ready ${events}`)
    process.nextTick(() => stack.log.push('written in the next tick'))
  }
  stack.ready.push({ events: 3, context: { handleReady } })
  stack.ready.push({ events: 1, context: null })
  link.sink?.onBatchEnd()
  await delay(1)
  const order = [
    'afterReceive',
    'ready 3',
    'written in the next tick',
    'beforeTransmit',
    'transmit',
  ]
  t.same(stack.log, order)
  driver.close()
})

t.test('a broken invariant closes the driver and goes to onFailure', async (t) => {
  const failures: unknown[] = []
  const { stack, link, driver } = parts((error) => failures.push(error))
  stack.failing = true
  link.sink?.onFrame(new Frame(2048))
  link.sink?.onBatchEnd()
  t.ok(driver.closed)
  t.ok(link.closed)
  t.ok(failures[0] instanceof AssertionFailure)
  t.same(stack.log, ['receive nic'])
})

t.test(
  'an error of the application is thrown on, and the others are told all the same',
  async (t) => {
    const { stack, link, driver } = parts(() => t.fail('no failure of the stack'))
    const throwing = {
      handleReady: () => {
        throw new Error('of the application')
      },
    }
    const told = { handleReady: () => stack.log.push('told') }
    stack.ready.push({ events: 1, context: throwing }, { events: 1, context: told })
    t.throws(() => link.sink?.onBatchEnd(), { message: 'of the application' })
    t.equal(driver.closed, false)
    await delay(1)
    t.same(stack.log, ['told', 'transmit'])
    driver.close()
  },
)

t.test(
  'T9: an open server or socket keeps the process alive; closed or unrefed ones do not',
  async (t) => {
    const net = new URL('../../../stack/socket/net.js', import.meta.url)
    // A timer that keeps nothing alive ends, with 7, what does not end before.
    const run = (code: string, patienceMs = 8000): string => {
      const end = `setTimeout(() => process.exit(7), ${patienceMs}).unref()`
      const script = `import net from ${JSON.stringify(net.href)}; ${end}; ${code}`
      const args = ['--input-type=module', '-e', script]
      const done = spawnSync(process.execPath, args, { timeout: 20_000, encoding: 'utf8' })
      return `${done.stdout.trim()} ${done.signal ?? done.status}`
    }
    t.equal(run(`net.createServer().listen(0, () => console.log('up'))`, 500), 'up 7')
    t.equal(run(`net.createServer().listen(0).unref(); console.log('up')`), 'up 0')
    t.equal(
      run(`const s = net.createServer().listen(0, () => s.close(() => console.log('closed')))`),
      'closed 0',
    )
    const exchange = `const s = net.createServer((c) => c.end('bye')).listen(0, () => {
    s.close(); net.connect(s.address().port).on('data', (d) => console.log(String(d)))
  })`
    t.equal(run(exchange.replace('s.close();', ''), 500), 'bye 7')
    t.equal(run(exchange.replace('s.close();', 's.unref();')), 'bye 0')
    const refused = `try { new net.Socket().connect({ port: 1, hints: 1 << 20 }) } catch (error) { console.log(error.code) }`
    t.equal(run(refused), 'ERR_INVALID_ARG_VALUE 0', 'a connect that throws')
  },
)

t.test('T9: require() gives the same as import', async (t) => {
  const net = new URL('../../../stack/socket/net.js', import.meta.url)
  const script = `const net = require(${JSON.stringify(net.pathname)}); console.log(typeof net.createServer, typeof net.connect, net.isIP('10.0.0.1'), new net.Socket() instanceof net.Socket)`
  const done = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' })
  t.equal(done.stdout.trim(), 'function function 4 true')
})

t.test(
  'T9: an error in a handler is an uncaughtException; connections live on if the process does',
  async (t) => {
    const { net, server, port } = await listening((s) => {
      s.on('data', (chunk) => {
        if (String(chunk) === 'bad') throw new Error('in a handler')
        s.write(chunk)
      })
    })
    const client = net.connect(port, '127.0.0.1')
    await once(client, 'connect')
    const before = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    const caught = once(process, 'uncaughtException')
    client.write('bad')
    const [error] = await caught
    for (const listener of before) process.on('uncaughtException', listener)
    t.equal((error as Error).message, 'in a handler')
    client.write('good')
    const [answer] = await once(client, 'data')
    t.equal(String(answer), 'good')
    client.end()
    server.close()
  },
)

t.test('the loopback loses nothing when it is closed in use', async (t) => {
  const loopback = newLoopback()
  loopback.close()
  loopback.client.kick()
  await delay(5)
  t.equal(loopback.hub.ports.length, 0)
})
