/**
 * UDP as applications see it. What is about the face and not about the stack runs on `node:dgram`, too, so that both are held to
 * the same.
 */
import * as node from 'node:dgram'
import { once } from 'node:events'
import t from 'tap'
import { createDgram, type DgramSocket, type RemoteInfo } from '../../../stack/socket/dgram.js'
import type { StackHost } from '../../../stack/socket/host.js'
import { type Loopback, newLoopback } from '../../../stack/socket/loopback.js'

type Create = (type: 'udp4' | 'udp6' | { type: 'udp6'; ipv6Only: boolean }) => DgramSocket

const FACES: Record<string, () => Create> = {
  stack: () => createDgram().createSocket,
  node: () => node.createSocket as unknown as Create,
}

async function bound(create: Create, port = 0): Promise<DgramSocket> {
  const socket = create('udp4')
  socket.bind(port, '127.0.0.1')
  await once(socket, 'listening')
  return socket
}

async function message(socket: DgramSocket): Promise<[Buffer, RemoteInfo]> {
  return (await once(socket, 'message')) as [Buffer, RemoteInfo]
}

function codeOf(act: () => unknown): unknown {
  try {
    act()
  } catch (error) {
    return (error as NodeJS.ErrnoException).code
  }
  return 'nothing thrown'
}

for (const [face, make] of Object.entries(FACES)) {
  t.test(`T9: ${face}: messages with their senders, and answers`, async (t) => {
    const create = make()
    const server = await bound(create)
    const { port } = server.address()
    t.match(server.address(), { address: '127.0.0.1', family: 'IPv4' })
    server.on('message', (msg, rinfo) => {
      server.send(`${msg} ${rinfo.size}`, rinfo.port, rinfo.address)
    })
    const client = create('udp4')
    client.send('hello', port, '127.0.0.1')
    const [answer, from] = await message(client)
    t.equal(String(answer), 'hello 5')
    t.match(from, { address: '127.0.0.1', family: 'IPv4', port, size: 7 })
    t.equal(client.address().address, '0.0.0.0', 'bound by sending')
    client.close()
    server.close()
    await once(server, 'close')
  })

  t.test(
    `T9 T1: ${face}: a socket of IPv6, which takes IPv4 as well unless told otherwise`,
    async (t) => {
      const create = make()
      const server = create('udp6')
      server.bind(0)
      await once(server, 'listening')
      const { port } = server.address()
      t.match(server.address(), { address: '::', family: 'IPv6' })
      server.on('message', (msg, rinfo) => server.send(`${msg} back`, rinfo.port, rinfo.address))
      const six = create('udp6')
      six.send('six', port)
      const [answer, from] = await message(six)
      t.equal(String(answer), 'six back')
      t.match(from, { address: '::1', family: 'IPv6', port })
      const four = create('udp4')
      const [heard, back] = [message(server), message(four)]
      four.send('four', port)
      t.match((await heard)[1], { address: '::ffff:127.0.0.1', family: 'IPv6' })
      const [said, by] = await back
      t.equal(String(said), 'four back')
      t.match(by, { address: '127.0.0.1', family: 'IPv4', port })
      const taken = create('udp4')
      taken.bind(port)
      t.match(await once(taken, 'error'), [{ code: 'EADDRINUSE' }])
      const wrong = new Promise((resolve) => four.send('x', port, '::1', resolve))
      t.match(await wrong, { code: 'EINVAL' }, 'not by the other family')
      const only = create({ type: 'udp6', ipv6Only: true })
      only.bind(0)
      await once(only, 'listening')
      const beside = create('udp4')
      beside.bind(only.address().port)
      await once(beside, 'listening')
      t.pass('each family has its own ports then')
      const [forFour, forSix] = [message(beside), message(only)]
      four.send('4', only.address().port)
      six.send('6', only.address().port)
      t.equal(String((await forFour)[0]), '4')
      t.equal(String((await forSix)[0]), '6')
      for (const each of [server, six, four, taken, only, beside]) each.close()
    },
  )

  t.test(`T9: ${face}: every form of send`, async (t) => {
    const create = make()
    const server = await bound(create)
    const { port } = server.address()
    const client = await bound(create)
    const octets = Buffer.from('0123456789')
    const sent = (text: string) => async (error: Error | null, bytes?: number) => {
      t.same([error, bytes], [null, text.length], text)
    }
    const forms: [string, unknown[]][] = [
      ['0123456789', [octets, port, '127.0.0.1']],
      ['234', [octets, 2, 3, port, '127.0.0.1']],
      ['9', [octets, 9, 1, port]],
      ['0123456789', [octets, port]],
      ['', [octets, 0, 0, port, '127.0.0.1']],
      ['text', ['text', port, '127.0.0.1', sent('text')]],
      ['call', ['call', port, sent('call')]],
      ['abcd', [['ab', Buffer.from('cd')], port, '127.0.0.1']],
      ['AB', [new DataView(Uint8Array.of(65, 66).buffer), port]],
      ['AB', [new Uint16Array(Uint8Array.of(65, 66).buffer), port, 'localhost']],
      ['range', ['a range', 2, 5, port, '127.0.0.1', sent('range')]],
    ]
    for (const [wanted, args] of forms) {
      client.send(...args)
      const [msg] = await message(server)
      t.equal(String(msg), wanted, JSON.stringify(args.slice(1)))
    }
    for (const args of [[], [7, port], [{}, port], [[7], port]]) {
      t.equal(
        codeOf(() => client.send(...args)),
        'ERR_INVALID_ARG_TYPE',
        JSON.stringify(args),
      )
    }
    for (const bad of [0, 65_536, -1, 'x', undefined]) {
      t.equal(
        codeOf(() => client.send('a', bad)),
        'ERR_SOCKET_BAD_PORT',
        String(bad),
      )
    }
    t.equal(
      codeOf(() => client.send('abc', 4, 1, port)),
      'ERR_BUFFER_OUT_OF_BOUNDS',
    )
    t.equal(
      codeOf(() => client.send('abc', 1, 3, port)),
      'ERR_BUFFER_OUT_OF_BOUNDS',
    )
    const error = await new Promise<NodeJS.ErrnoException>((resolve) => {
      client.send(Buffer.alloc(65_508), port, '127.0.0.1', (e: Error | null) => resolve(e as Error))
    })
    t.match(error, { code: 'EMSGSIZE', syscall: 'send', address: '127.0.0.1', port })
    client.close()
    server.close()
  })

  t.test(`T9: ${face}: a connected socket has one peer`, async (t) => {
    const create = make()
    const server = await bound(create)
    const stranger = await bound(create)
    const { port } = server.address()
    const client = create('udp4')
    t.equal(
      codeOf(() => client.remoteAddress()),
      'ERR_SOCKET_DGRAM_NOT_CONNECTED',
    )
    t.equal(
      codeOf(() => client.disconnect()),
      'ERR_SOCKET_DGRAM_NOT_CONNECTED',
    )
    client.connect(port, '127.0.0.1')
    await once(client, 'connect')
    t.match(client.remoteAddress(), { address: '127.0.0.1', family: 'IPv4', port })
    t.equal(
      codeOf(() => client.connect(port)),
      'ERR_SOCKET_DGRAM_IS_CONNECTED',
    )
    client.send('one')
    const [msg, rinfo] = await message(server)
    t.equal(String(msg), 'one')
    client.send(Buffer.from('0123'), 1, 2)
    t.equal(String((await message(server))[0]), '12')
    t.equal(
      codeOf(() => client.send('xy', 1, 1, port)),
      'ERR_SOCKET_DGRAM_IS_CONNECTED',
    )
    stranger.send('from a stranger', rinfo.port, '127.0.0.1')
    server.send('from the peer', rinfo.port, '127.0.0.1')
    t.equal(String((await message(client))[0]), 'from the peer')
    server.close()
    await once(server, 'close')
    client.send('into the void')
    const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException]
    t.match(error, { code: 'ECONNREFUSED', syscall: 'recvmsg' })
    client.disconnect()
    t.equal(
      codeOf(() => client.send('x')),
      'ERR_SOCKET_BAD_PORT',
    )
    client.close()
    stranger.close()
  })

  t.test(`T9: ${face}: errors and states have Node's codes`, async (t) => {
    const create = make()
    const socket = create('udp4')
    t.equal(
      codeOf(() => socket.address()),
      'EBADF',
    )
    t.equal(
      codeOf(() => socket.setBroadcast(true)),
      'EBADF',
    )
    t.equal(
      codeOf(() => socket.setTTL(7)),
      'EBADF',
    )
    t.equal(
      codeOf(() => socket.getRecvBufferSize()),
      'ERR_SOCKET_BUFFER_SIZE',
    )
    socket.bind(0, '127.0.0.1')
    t.equal(
      codeOf(() => socket.bind()),
      'ERR_SOCKET_ALREADY_BOUND',
    )
    await once(socket, 'listening')
    t.equal(socket.setTTL(7), 7)
    t.equal(
      codeOf(() => socket.setTTL(0)),
      'EINVAL',
    )
    t.equal(
      codeOf(() => socket.setTTL('7' as never)),
      'ERR_INVALID_ARG_TYPE',
    )
    t.equal(socket.setMulticastTTL(3), 3)
    socket.setBroadcast(true)
    socket.setSendBufferSize(100_000)
    t.ok(socket.getSendBufferSize() >= 100_000)
    t.equal(
      codeOf(() => socket.setRecvBufferSize(-1)),
      'ERR_SOCKET_BAD_BUFFER_SIZE',
    )
    t.same([socket.getSendQueueSize(), socket.getSendQueueCount()], [0, 0])
    const second = create('udp4')
    const { port } = socket.address()
    second.bind(port, '127.0.0.1')
    const [taken] = (await once(second, 'error')) as [NodeJS.ErrnoException]
    const bind = { code: 'EADDRINUSE', syscall: 'bind', address: '127.0.0.1', port }
    t.match(taken, { ...bind, message: `bind EADDRINUSE 127.0.0.1:${port}` })
    second.bind({ port: 0, address: '192.0.2.77' })
    const [foreign] = (await once(second, 'error')) as [NodeJS.ErrnoException]
    t.match(foreign, { code: 'EADDRNOTAVAIL', syscall: 'bind', address: '192.0.2.77' })
    t.equal(
      codeOf(() => create('udp5' as never)),
      'ERR_SOCKET_BAD_TYPE',
    )
    let closed = 0
    t.equal(
      socket.close(() => closed++),
      socket,
    )
    for (const act of ['address', 'close', 'bind'] as const) {
      t.equal(
        codeOf(() => socket[act]()),
        'ERR_SOCKET_DGRAM_NOT_RUNNING',
        act,
      )
    }
    t.equal(
      codeOf(() => socket.send('x', port)),
      'ERR_SOCKET_DGRAM_NOT_RUNNING',
    )
    t.equal(closed, 0, 'not before the end of the tick')
    await once(socket, 'close')
    t.equal(closed, 1)
    second.close()
  })
}

// Two hosts that go by their own addresses, 192.0.2.1 and 192.0.2.2.
function twoHosts(mtu: number): { server: StackHost; client: StackHost; loopback: Loopback } {
  const loopback = newLoopback(mtu)
  const { names: _server, ...server } = loopback.server
  const { names: _client, ...client } = loopback.client
  return { server, client, loopback }
}

t.test('T9: between two hosts, by real frames, also in fragments', async (t) => {
  const { loopback, ...hosts } = twoHosts(1500)
  const server = createDgram(hosts.server).createSocket('udp4', (msg, rinfo) => {
    server.send(msg, rinfo.port, rinfo.address)
  })
  server.bind(53)
  await once(server, 'listening')
  const client = createDgram(hosts.client).createSocket({ type: 'udp4' })
  for (const length of [0, 1, 1472, 1473, 20_000, 65_507]) {
    const data = Buffer.alloc(length, 'understudy')
    client.send(data, 53, '192.0.2.1')
    const [msg, from] = await message(client)
    t.match(from, { address: '192.0.2.1', port: 53, size: length })
    t.ok(msg.equals(data), `${length} octets`)
  }
  t.ok((loopback.hub.ports[0]?.received ?? 0) > 60, 'over the hub')
  client.close()
  server.close()
  loopback.close()
})

t.test('T9: a burst of a thousand arrives in order', async (t) => {
  const loopback = newLoopback()
  const server = createDgram(loopback.server).createSocket('udp4')
  server.bind(53)
  await once(server, 'listening')
  const client = createDgram(loopback.client).createSocket('udp4')
  // What is sent before the neighbour is known waits in a queue that is much shorter.
  client.send('first', 53)
  await message(server)
  const got: number[] = []
  const all = new Promise<void>((resolve) => {
    server.on('message', (msg) => {
      got.push(msg.readUInt16BE())
      if (got.length === 1000) resolve()
    })
  })
  for (let i = 0; i < 1000; i++) client.send(Buffer.from([i >> 8, i & 255]), 53)
  await all
  t.same(got, [...got.keys()])
  client.close()
  server.close()
  loopback.close()
})

t.test('T9: names by `lookup`, aborting, and disposal', async (t) => {
  const { createSocket } = createDgram()
  const lookup = (name: string, _options: unknown, found: (e: Error | null, a: string) => void) =>
    found(null, name === 'here' ? '127.0.0.1' : '192.0.2.200')
  const server = await bound(createSocket as Create)
  const client = createSocket({ type: 'udp4', lookup })
  client.send('x', server.address().port, 'here')
  t.equal(String((await message(server))[0]), 'x')
  const plain = createSocket('udp4')
  plain.send('x', 1, 'nowhere.invalid')
  const [error] = (await once(plain, 'error')) as [NodeJS.ErrnoException]
  t.match(error, { code: 'ENOTFOUND', syscall: 'getaddrinfo' })
  t.equal(
    codeOf(() => plain.addMembership('224.0.0.251')),
    'EOPNOTSUPP',
  )
  const controller = new AbortController()
  const aborted = createSocket({ type: 'udp4', signal: controller.signal })
  controller.abort()
  await once(aborted, 'close')
  for (const socket of [server, client, plain]) {
    await socket[Symbol.asyncDispose]()
    t.equal(
      codeOf(() => socket.address()),
      'ERR_SOCKET_DGRAM_NOT_RUNNING',
    )
  }
})

t.test('T9: a bound socket keeps the process, unless it is told not to', async (t) => {
  const loopback = newLoopback()
  let refs = 0
  const host = { ...loopback.server, ref: () => refs++, unref: () => refs-- }
  const socket = createDgram(host).createSocket('udp4')
  t.equal(refs, 0)
  socket.bind(0)
  await once(socket, 'listening')
  t.equal(refs, 1)
  t.equal(socket.unref().ref().unref(), socket)
  t.equal(refs, 0)
  socket.ref()
  socket.close()
  t.equal(refs, 0)
  loopback.close()
})
