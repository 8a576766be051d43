/**
 * Bad clients of echo, the ticker and the key-value store: those that do not read, say half of something, or stay when they are told to
 * go. What is held for them is bounded, and a well-behaved client beside them notices nothing.
 */
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startApp } from '../../apps/index.js'
import { createKvServer } from '../../apps/kv/server.js'
import { dismiss } from '../../apps/patience.js'
import type { Socket } from '../../stack/index.js'
import { Company, talk, until, VIRTUAL } from './company.js'

const MIB = 1024 * 1024

function company(t: Test, name: string, port: number): Company {
  return new Company(t, (node) => {
    void startApp({ name, port } as never, node, (error) => t.comment(error.message))
  })
}

/** Writes to `socket` until no more of it is taken, or until it has taken `limit`; returns how much that was. */
async function flood(socket: Socket, limit: number): Promise<number> {
  const chunk = Buffer.alloc(65_536, 'x')
  let taken = -1
  for (let still = 0; still < 20; ) {
    const written = (): number => socket.bytesWritten ?? 0
    while (!socket.writableNeedDrain && written() < limit) socket.write(chunk)
    await delay(10)
    const now = written() - socket.writableLength
    still = now === taken ? still + 1 : 0
    taken = now
    if (taken >= limit) break
  }
  return taken
}

t.test(
  'A8: a client of echo that does not read is not read from',
  { timeout: 60_000 },
  async (t) => {
    const lab = company(t, 'echo', 7)
    await lab.owner()
    const deaf = lab.client.connect(7, VIRTUAL)
    deaf.on('error', () => {})
    deaf.pause()
    const taken = await flood(deaf, 64 * MIB)
    t.ok(taken < 32 * MIB, `${taken} octets, and no more`)
    const good = talk(lab, 7)
    good.socket.write('hello')
    await until(() => good.heard === 'hello', 'answered beside it')
    await lab.crashOwner()
    good.socket.write(' again')
    await until(() => good.heard === 'hello again', 'answered beside it')
    deaf.resetAndDestroy()
    good.socket.destroy()
  },
)

t.test('A8: what a client tells the ticker goes nowhere', { timeout: 60_000 }, async (t) => {
  const lab = company(t, 'ticker', 13)
  await lab.owner()
  const loud = talk(lab, 13)
  t.ok((await flood(loud.socket, 16 * MIB)) >= 16 * MIB, 'it is heard')
  const half = talk(lab, 13, true)
  half.socket.end('garbage')
  await until(() => half.closed, 'ended with its client')
  const before = loud.heard.length
  await until(() => loud.heard.length > before, 'counting')
  loud.socket.destroy()
})

t.test('A4: clients of the key-value store that owe something', { timeout: 60_000 }, async (t) => {
  const lab = new Company(t, (node) => {
    const serve = createKvServer(node.store, Date.now, 300)
    node.net.createServer({ allowHalfOpen: true }, serve).listen(6379)
  })
  await lab.owner()
  const good = talk(lab, 6379)
  good.socket.write(`SET a ${'x'.repeat(50_000)}\r\n`)
  await until(() => good.heard === '+OK\r\n', 'answered')
  const half = talk(lab, 6379, true)
  half.socket.write('*2\r\n$3\r\nGET\r\n$1000\r\nhalf')
  const deaf = lab.client.connect(6379, VIRTUAL)
  let code = ''
  deaf.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code ?? ''
  })
  deaf.pause()
  deaf.write('GET a\r\n'.repeat(2000))
  await until(() => half.closed && code !== '', 'reset')
  t.equal(code, 'ECONNRESET')
  t.match(half.error, { code: 'ECONNRESET' })
  t.notOk(good.closed, 'who owes nothing stays')
  good.heard = ''
  good.socket.write('DEL a\r\n')
  await until(() => good.heard === ':1\r\n', 'answered beside them')
  good.socket.destroy()
})

t.test(
  'A2: who is told to go and stays is reset, and hears why first',
  { timeout: 60_000 },
  async (t) => {
    const lab = new Company(t, (node) => {
      const server = node.net.createServer({ allowHalfOpen: true }, (socket) => {
        socket.on('error', () => {})
        socket.once('data', () => dismiss(socket, 'because', 300))
      })
      server.listen(9)
    })
    await lab.owner()
    const stays = lab.client.connect({ port: 9, host: VIRTUAL, allowHalfOpen: true })
    let heard = ''
    let code = ''
    stays.on('data', (chunk) => {
      heard += chunk
    })
    stays.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code ?? ''
    })
    const talking = setInterval(() => stays.write('x'.repeat(10_000)), 10)
    await until(() => heard === 'because', 'told why')
    t.equal(code, '')
    await until(() => code !== '', 'reset')
    clearInterval(talking)
    t.match(code, /^(ECONNRESET|EPIPE)$/)
  },
)
