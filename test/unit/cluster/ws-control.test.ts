import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { WebSocket } from 'ws'
import { MAX_MESSAGE, MAX_UNPROVEN, WsControl } from '../../../cluster/io/ws-control.js'
import { parseHandshake, proofOf } from '../../../cluster/io/ws-handshake.js'

const KEY = Buffer.alloc(32, 1)

/** As much of a tap test as a node needs. */
interface Scope {
  teardown(end: () => unknown): unknown
}

class Node {
  readonly events: string[] = []
  readonly messages: Buffer[] = []
  readonly control: WsControl
  downAt = 0
  port = 0

  constructor(id: number, { cluster = 'c', key = KEY, port = 0 } = {}) {
    this.control = new WsControl({
      id,
      cluster,
      key,
      port,
      onUp: (peer) => this.events.push(`up ${peer}`),
      onDown: (peer, reason) => {
        this.downAt = performance.now()
        this.events.push(`down ${peer} ${reason}`)
      },
      onMessage: (_peer, bytes) => this.messages.push(Buffer.from(bytes)),
    })
  }

  async start(t: Scope): Promise<this> {
    this.port = (await this.control.listen()).port
    t.teardown(() => this.control.close())
    return this
  }
}

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 2) {
    if (waited > 5000) throw new Error('it did not come about within 5 s')
    await delay(2)
  }
}

async function pair(t: Scope): Promise<[Node, Node]> {
  const one = await new Node(1).start(t)
  const two = await new Node(2).start(t)
  one.control.addPeer(2, '127.0.0.1', two.port)
  two.control.addPeer(1, '127.0.0.1', one.port)
  await until(() => one.events.length > 0 && two.events.length > 0)
  return [one, two]
}

t.test('the smaller id dials; one channel carries messages both ways', async (t) => {
  const [one, two] = await pair(t)
  t.same([one.events, two.events], [['up 2'], ['up 1']])
  const message = Buffer.from('first')
  t.equal(one.control.send(2, message), true)
  message.fill(0)
  two.control.send(1, Buffer.alloc(MAX_MESSAGE, 7))
  await until(() => one.messages.length + two.messages.length === 2)
  t.equal(two.messages[0]?.toString(), 'first')
  t.ok(one.messages[0]?.equals(Buffer.alloc(MAX_MESSAGE, 7)))
  t.equal(one.control.send(3, message), false, 'no such peer')
  t.throws(() => one.control.send(2, Buffer.alloc(MAX_MESSAGE + 1)), {
    code: 'ERR_CONTROL_MESSAGE_SIZE',
  })
})

t.test('the death of a peer shows at once', async (t) => {
  const one = await new Node(1).start(t)
  const child = fork(fileURLToPath(new URL('./ws-peer.js', import.meta.url)), [
    '2',
    KEY.toString('hex'),
  ])
  const [port] = (await once(child, 'message')) as [number]
  one.control.addPeer(2, '127.0.0.1', port)
  await until(() => one.events.includes('up 2'))
  const killedAt = performance.now()
  child.kill('SIGKILL')
  await until(() => one.events.length > 1)
  t.comment(`onDown ${(one.downAt - killedAt).toFixed(1)} ms after kill -9`)
  t.match(one.events[1], /^down 2 (eof|error)$/)
})

t.test('a peer that comes back is dialled again', async (t) => {
  const [one, two] = await pair(t)
  await two.control.close()
  await until(() => one.events.length > 1)
  t.equal(one.events[1], 'down 2 eof')
  await new Node(2, { port: two.port }).start(t)
  await until(() => one.events.length > 2)
  t.equal(one.events[2], 'up 2')
  one.control.removePeer(2)
  t.equal(one.events[3], 'down 2 removed')
  await delay(100)
  t.equal(one.events.length, 4, 'a forgotten peer is not dialled')
})

t.test('who has another key or is of another cluster gets nowhere, and is counted', async (t) => {
  const two = await new Node(2).start(t)
  const thief = await new Node(1, { key: Buffer.alloc(32, 2) }).start(t)
  thief.control.addPeer(2, '127.0.0.1', two.port)
  await until(() => (thief.control.stats().ended['bad-proof'] ?? 0) > 0)
  thief.control.removePeer(2)
  const stranger = await new Node(1, { cluster: 'other' }).start(t)
  stranger.control.addPeer(2, '127.0.0.1', two.port)
  await until(() => (two.control.stats().ended['foreign-cluster'] ?? 0) > 0)
  t.same([two.events, thief.events, stranger.events], [[], [], []])
})

type Reply = (message: Record<string, unknown>) => Record<string, unknown> | string | Buffer | null

/** Speaks to `port` as no node does, and gives the code with which it is refused. */
async function refusal(
  port: number,
  first: object | string | Buffer,
  reply: Reply,
): Promise<number> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/control`)
  const tell = (what: object | string | Buffer) =>
    socket.send(typeof what === 'string' || Buffer.isBuffer(what) ? what : JSON.stringify(what))
  socket.on('error', () => undefined)
  socket.on('message', (data) => {
    const next = reply(JSON.parse(data.toString()))
    if (next !== null) tell(next)
  })
  await once(socket, 'open')
  tell(first)
  const [code] = (await once(socket, 'close')) as [number]
  return code
}

t.test('no message counts before the proof', async (t) => {
  const two = await new Node(2).start(t)
  const nonce = 'a'.repeat(64)
  const hello = { type: 'hello', version: 1, cluster: 'c', from: 1, to: 2, nonce }
  const none: Reply = () => null
  t.equal(await refusal(two.port, Buffer.from('message'), none), 4005, 'binary')
  t.equal(await refusal(two.port, 'no json', none), 4005)
  t.equal(await refusal(two.port, { type: 'ready' }, none), 4005, 'ready to the listener')
  t.equal(await refusal(two.port, { type: 'proof', proof: nonce }, none), 4005, 'proof first')
  t.equal(await refusal(two.port, { ...hello, from: 3 }, none), 4003, 'the greater id dials')
  t.equal(await refusal(two.port, { ...hello, to: 9 }, none), 4003, 'meant for another')
  t.equal(await refusal(two.port, { ...hello, pad: 'x'.repeat(2000) }, none), 4005, 'too long')
  t.equal(await refusal(two.port, hello, () => ({ type: 'proof', proof: nonce })), 4001, 'guessed')
  const reflected: Reply = ({ proof }) => ({ type: 'proof', proof })
  t.equal(await refusal(two.port, hello, reflected), 4001, 'its own proof sent back')
  t.same([two.events, two.messages], [[], []])
  t.equal(two.control.stats().ended['bad-proof'], 2)
})

t.test('a second proven channel replaces the first', async (t) => {
  const [, two] = await pair(t)
  const twin = await new Node(1).start(t)
  twin.control.addPeer(2, '127.0.0.1', two.port)
  await until(() => two.events.length >= 3)
  t.same(two.events.slice(0, 3), ['up 1', 'down 1 replaced', 'up 1'])
})

t.test('silent connections are few and short', async (t) => {
  const two = await new Node(2).start(t)
  const sockets = Array.from({ length: MAX_UNPROVEN + 3 }, () => connect(two.port, '127.0.0.1'))
  for (const socket of sockets) socket.on('error', () => undefined).resume()
  await until(() => two.control.stats().refused === 3)
  await until(() => (two.control.stats().ended.timeout ?? 0) === MAX_UNPROVEN)
  const one = await new Node(1).start(t)
  one.control.addPeer(2, '127.0.0.1', two.port)
  await until(() => one.events.includes('up 2'))
  t.pass('room again')
})

t.test('a peer that does not read is dropped', async (t) => {
  const one = await new Node(1).start(t)
  const child = fork(fileURLToPath(new URL('./ws-peer.js', import.meta.url)), [
    '2',
    KEY.toString('hex'),
  ])
  t.teardown(() => child.kill('SIGKILL'))
  const [port] = (await once(child, 'message')) as [number]
  one.control.addPeer(2, '127.0.0.1', port)
  await until(() => one.events.includes('up 2'))
  child.kill('SIGSTOP')
  let sent = 0
  while (sent < 64 && one.control.send(2, Buffer.alloc(MAX_MESSAGE))) {
    sent++
    await delay(1)
  }
  t.ok(sent < 64, `given up after ${sent} MiB`)
  t.equal(one.events[1], 'down 2 slow')
})

t.test('a port in use is told', async (t) => {
  const two = await new Node(2).start(t)
  await t.rejects(new Node(3, { port: two.port }).control.listen(), { code: 'ERR_CONTROL_LISTEN' })
})

t.test('proofs bind role, ids, cluster and nonces; messages are checked', async (t) => {
  const said = { cluster: 'c', dialler: 1, listener: 2, diallerNonce: 'a', listenerNonce: 'b' }
  const proofs = new Set([
    proofOf(KEY, 'dialler', said),
    proofOf(KEY, 'listener', said),
    proofOf(KEY, 'dialler', { ...said, cluster: 'd' }),
    proofOf(KEY, 'dialler', { ...said, dialler: 0 }),
    proofOf(KEY, 'dialler', { ...said, listener: 3 }),
    proofOf(KEY, 'dialler', { ...said, diallerNonce: 'x' }),
    proofOf(KEY, 'dialler', { ...said, listenerNonce: 'x' }),
    proofOf(Buffer.alloc(32), 'dialler', said),
  ])
  t.equal(proofs.size, 8)
  for (const text of ['null', '1', '[]', '{"type":"proof","proof":"zz"}', '{"type":"hello"}']) {
    t.equal(parseHandshake(Buffer.from(text)), null, text)
  }
})
