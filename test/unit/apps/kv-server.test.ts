/**
 * A connection of the key-value store without a network: what becomes of its requests while another node's claim is known to the store
 * and not to this node, which carries the connection (P20).
 */
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { createKvServer } from '../../../apps/kv/server.js'
import { MemoryCheckpointStorage, MemoryCheckpointStore } from '../../../cluster/memory-store.js'
import type { Socket } from '../../../stack/socket/net.js'
import { MemorySocket } from './nfs-client.js'

function answered({ out }: MemorySocket): string {
  return Buffer.concat(out).toString('latin1')
}

/** Resolves when the socket was answered so: the turn may have been over, and another is to come first. */
async function heard(socket: MemorySocket, answer: string | RegExp): Promise<void> {
  const told = (): boolean => {
    const text = answered(socket)
    return typeof answer === 'string' ? text === answer : answer.test(text)
  }
  while (!told()) await delay(1)
}

t.test('A4 P20: a request between two terms waits and is carried out once', async (t) => {
  const storage = new MemoryCheckpointStorage()
  const [carrier, owner] = [new MemoryCheckpointStore(storage), new MemoryCheckpointStore(storage)]
  carrier.claim(1, 1)
  const socket = new MemorySocket()
  const moved = new MemorySocket()
  const serve = createKvServer(carrier)
  for (const each of [socket, moved]) serve(each as unknown as Socket)
  socket.send(Buffer.from('INCR a\r\n'))
  await heard(socket, ':1\r\n')
  owner.claim(1, 2)
  socket.send(Buffer.from('INCR a\r\nINC'))
  moved.send(Buffer.from('INCR a\r\n'))
  t.ok(socket.paused, 'no more is read')
  t.equal(answered(socket), ':1\r\n', 'and nothing answered')
  moved.destroy()
  socket.send(Buffer.from('R a\r\n'))
  carrier.claim(1, 2)
  await heard(socket, ':1\r\n:2\r\n:3\r\n')
  t.equal(answered(moved), '', 'whose connection has ended, gets no answer')
  t.notOk(socket.paused)
})

t.test(
  'A4: many requests at once are carried out in order, and others have their turn',
  async (t) => {
    const socket = new MemorySocket()
    const beside = new MemorySocket()
    const serve = createKvServer(new MemoryCheckpointStore())
    for (const each of [socket, beside]) serve(each as unknown as Socket)
    const count = 30_000
    socket.send(Buffer.from('INCR a\r\n'.repeat(count)))
    t.ok(socket.paused, 'it is not read on')
    const before = socket.committed
    t.ok(before < 8 * count, `${before} octets in the first turn`)
    beside.send(Buffer.from('PING\r\n'))
    t.equal(answered(beside), '', 'a turn is for all of them together')
    await heard(beside, '+PONG\r\n')
    t.ok(socket.committed < 8 * count, 'who had no part of one comes first')
    while (socket.paused) await delay(1)
    const answers = Array.from({ length: count }, (_, i) => `:${i + 1}\r\n`)
    t.equal(answered(socket), answers.join(''))
    t.equal(socket.committed, 8 * count)
  },
)

t.test(
  'A4: what is no request is answered, and ends the connection; half of one waits',
  async (t) => {
    const serve = createKvServer(new MemoryCheckpointStore())
    const wrong: readonly (readonly [string, RegExp])[] = [
      ['*1\r\n+PING\r\n', /^-ERR Protocol error: expected/],
      ['*1\r\n$99999999\r\n', /^-ERR Protocol error: invalid bulk length/],
      ['*99999999\r\n', /^-ERR Protocol error: invalid multibulk length/],
      ['x'.repeat(100_000), /^-ERR Protocol error: too big inline request/],
      [`PING\r\n*1\r\n$4${' '.repeat(70_000)}`, /^\+PONG\r\n-ERR Protocol error: too big/],
      ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', /^-ERR wrong number.*\r\n-ERR unknown command/],
    ]
    for (const [text, answer] of wrong) {
      const socket = new MemorySocket()
      serve(socket as unknown as Socket)
      socket.send(Buffer.from(text))
      await heard(socket, answer)
      t.equal(socket.ended, /Protocol/.test(answered(socket)))
    }
    const half = new MemorySocket()
    serve(half as unknown as Socket)
    half.send(Buffer.from('*2\r\n$4\r\nECHO\r\n$3\r\nab'))
    t.same([answered(half), half.committed, half.ended], ['', 0, false])
    half.send(Buffer.from('c\r\n'))
    await heard(half, '$3\r\nabc\r\n')
    t.equal(half.committed, 23)
  },
)

t.test(
  'A4 D3: a connection that has moved before its socket is told ends no process',
  async (t) => {
    const store = new MemoryCheckpointStore()
    const [speaker, moved] = [new MemorySocket(), new MemorySocket()]
    const serve = createKvServer(store)
    for (const each of [speaker, moved]) serve(each as unknown as Socket)
    moved.send(Buffer.from('SUBSCRIBE news\r\n'))
    await heard(moved, /:1\r\n$/)
    moved.commit = () => {
      throw Object.assign(new Error('Socket is closed'), { code: 'ERR_SOCKET_CLOSED' })
    }
    speaker.send(Buffer.from('SET a 1\r\nPUBLISH news x\r\nGET a\r\n'))
    await heard(speaker, '+OK\r\n:1\r\n$1\r\n1\r\n')
    moved.send(Buffer.from('UNSUBSCRIBE news\r\nDEL a\r\n'))
    while (!moved.paused) await delay(1)
    speaker.send(Buffer.from('GET a\r\n'))
    // Nothing of what it asked is stored.
    await heard(speaker, /1\r\n\$1\r\n1\r\n$/)
    t.ok(moved.paused)
  },
)
