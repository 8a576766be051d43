/**
 * Socket and Server against the behaviour of node:net: order of events, back-pressure, half-open, resets, errors.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import nodeNet from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { createNet, type Socket } from '../../../stack/socket/net.js'
import { body, closed, collect, failure, listening, sha256 } from './world.js'

t.test('T9: echo, with the events and in the order of node:net', async (t) => {
  const run = async (net: Pick<typeof nodeNet, 'createServer' | 'connect'>): Promise<string[]> => {
    const log: string[] = []
    const server = net.createServer((s) => {
      log.push('s:connection')
      s.on('data', (chunk) => s.write(chunk))
      for (const name of ['end', 'finish']) s.on(name, () => log.push(`s:${name}`))
      s.on('close', (hadError) => log.push(`s:close ${hadError}`))
    })
    server.on('listening', () => log.push('s:listening'))
    server.on('close', () => log.push('s:server closed'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = net.connect((server.address() as nodeNet.AddressInfo).port, '127.0.0.1')
    for (const name of ['connect', 'ready', 'end', 'finish'])
      client.on(name, () => log.push(`c:${name}`))
    client.on('close', (hadError) => log.push(`c:close ${hadError}`))
    client.on('data', (chunk) => {
      log.push(`c:data ${chunk}`)
      client.end()
    })
    client.write('hello')
    await once(client, 'close')
    server.close()
    await once(server, 'close')
    return log
  }
  const ours = await run(createNet() as never)
  const theirs = await run(nodeNet)
  const of = (log: string[], side: string) => log.filter((line) => line.startsWith(side))
  t.same(of(ours, 'c:'), of(theirs, 'c:'))
  t.same(of(ours, 's:'), of(theirs, 's:'))
  t.ok(ours.includes('c:data hello'))
})

t.test(
  'T9: 20 MB both ways at once arrive whole, and back-pressure holds both sides',
  async (t) => {
    const up = body(20_000_000, 1)
    const down = body(20_000_000, 2)
    let received: Promise<Buffer> = Promise.resolve(Buffer.alloc(0))
    const { net, server, port } = await listening(
      (s) => {
        received = collect(s.iterator({ destroyOnReturn: false }))
        s.end(down)
      },
      { allowHalfOpen: true },
    )
    const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    let most = 0
    client.end(up)
    const chunks: Buffer[] = []
    // Whichever direction ends first must not destroy the other.
    for await (const chunk of client.iterator({ destroyOnReturn: false })) {
      chunks.push(chunk)
      most = Math.max(most, client.readableLength)
      if (chunks.length % 50 === 0) await delay(1)
    }
    t.equal(sha256(Buffer.concat(chunks)), sha256(down))
    t.equal(sha256(await received), sha256(up))
    t.ok(most <= 1024 * 1024, `${most} octets buffered`)
    t.equal(client.bytesRead, down.length)
    t.equal(client.bytesWritten, up.length)
    server.close()
  },
)

t.test('T9: a reader that does not read stops the writer; drain comes when it reads', async (t) => {
  let accepted: Socket | undefined
  const { net, server, port } = await listening((s) => {
    accepted = s
    s.pause()
  })
  const client = net.connect(port, '127.0.0.1')
  await once(client, 'connect')
  const chunk = body(65_536, 3)
  let written = 0
  while (written < 64 * 1024 * 1024) {
    written += chunk.length
    if (!client.write(chunk)) {
      const drained = await Promise.race([once(client, 'drain'), delay(200, null, { ref: true })])
      if (drained === null) break
    }
  }
  t.ok(written < 8 * 1024 * 1024, `stopped after ${written} octets`)
  t.ok(client.writableLength > 0)
  t.equal(client.bytesWritten, written)
  let read = 0
  accepted?.on('data', (data) => {
    read += data.length
  })
  accepted?.resume()
  await once(client, 'drain')
  client.end()
  await closed(client)
  t.equal(read, written)
  server.close()
})

t.test('T9: pauseOnConnect keeps what comes until it is wanted', async (t) => {
  const held: Socket[] = []
  const { net, server, port } = await listening((s) => held.push(s), { pauseOnConnect: true })
  const client = net.connect(port, '127.0.0.1')
  client.end('early')
  await delay(20)
  const socket = held[0] as Socket
  t.equal(socket.bytesRead, 0)
  t.ok(socket.isPaused())
  t.equal(String(await collect(socket)), 'early')
  client.destroy()
  server.close()
})

t.test('T9: half-open: each side ends on its own when that is allowed', async (t) => {
  const { net, server, port } = await listening(
    (s) => {
      s.resume()
      s.on('end', () => setTimeout(() => s.end('after the end'), 20))
    },
    { allowHalfOpen: true },
  )
  const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  client.end('request')
  t.equal(String(await collect(client)), 'after the end')
  t.equal(await closed(client), false)
  server.close()
  await once(server, 'close')
})

t.test(
  'T9: without allowHalfOpen the other side ends by itself, and writes behind it fail with EPIPE',
  async (t) => {
    const sides: Socket[] = []
    const { net, server, port } = await listening((s) => sides.push(s.resume()))
    const client = net.connect(port, '127.0.0.1')
    await once(client, 'connect')
    client.resume()
    client.end()
    await closed(client)
    const accepted = sides[0] as Socket
    const error = failure(accepted)
    accepted.write('too late', () => {})
    if (!accepted.destroyed) t.equal((await error).code, 'EPIPE')
    t.ok(accepted.destroyed)
    server.close()
  },
)

t.test('T9: a reset is ECONNRESET once, then close with hadError', async (t) => {
  const { net, server, port } = await listening((s) => {
    s.on('error', () => {})
    s.once('data', () => s.resetAndDestroy())
  })
  const client = net.connect(port, '127.0.0.1')
  const errors: NodeJS.ErrnoException[] = []
  client.on('error', (error) => errors.push(error))
  client.write('x')
  t.equal(await closed(client), true)
  t.equal(errors.length, 1)
  t.match(errors[0], {
    code: 'ECONNRESET',
    syscall: 'read',
    errno: -104,
    message: 'read ECONNRESET',
  })
  server.close()
})

t.test('T9: destroying a socket with unread input resets the peer', async (t) => {
  const { net, server, port } = await listening((s) => setTimeout(() => s.destroy(), 20), {
    pauseOnConnect: true,
  })
  const client = net.connect(port, '127.0.0.1')
  client.write('never read')
  t.match(await failure(client), { code: 'ECONNRESET' })
  server.close()
})

t.test('T9: nobody listens: ECONNREFUSED with address and port', async (t) => {
  const net = createNet()
  const client = net.connect(81, '127.0.0.1')
  t.ok(client.connecting)
  t.equal(client.readyState, 'opening')
  const error = await failure(client)
  t.equal(error.message, 'connect ECONNREFUSED 127.0.0.1:81')
  t.match(error, {
    code: 'ECONNREFUSED',
    errno: -111,
    syscall: 'connect',
    address: '127.0.0.1',
    port: 81,
  })
  t.equal(client.readyState, 'closed')
})

t.test('T9: no route, unknown name, bad port, and a connection that times out', async (t) => {
  const net = createNet()
  const unreachable = await failure(net.connect(80, '10.1.2.3'))
  t.equal(unreachable.message, 'connect ENETUNREACH 10.1.2.3:80')
  t.equal((await failure(net.connect(80, 'nowhere.invalid'))).code, 'ENOTFOUND')
  t.throws(() => net.connect(70_000, '127.0.0.1'), { code: 'ERR_SOCKET_BAD_PORT' })
  // An address on the link that nobody has: ARP finds no one.
  const silent = net.connect({ port: 80, host: '192.0.2.77', timeout: 30 })
  await once(silent, 'timeout')
  t.ok(silent.connecting)
  silent.destroy()
  t.equal(await closed(silent), false)
})

t.test('T9: a name that lookup finds', async (t) => {
  const { net, server, port } = await listening((s) => s.end('hi'))
  const client = net.connect({
    port,
    host: 'somewhere.example',
    lookup: (_name, _options, callback) => setImmediate(callback, null, '127.0.0.1', 4),
  })
  t.equal(String(await collect(client)), 'hi')
  server.close()
})

t.test(
  'T9: EADDRINUSE, ERR_SERVER_ALREADY_LISTEN, and the port is free again after close',
  async (t) => {
    const { net, server, port } = await listening(() => {})
    t.throws(() => server.listen(port), { code: 'ERR_SERVER_ALREADY_LISTEN' })
    const second = net.createServer()
    second.listen(port, '127.0.0.1')
    const [error] = (await once(second, 'error')) as [NodeJS.ErrnoException]
    t.equal(error.message, `listen EADDRINUSE: address already in use 127.0.0.1:${port}`)
    t.match(error, {
      code: 'EADDRINUSE',
      errno: -98,
      syscall: 'listen',
      address: '127.0.0.1',
      port,
    })
    server.close()
    await once(server, 'close')
    t.equal(server.address(), null)
    second.listen(port, '127.0.0.1')
    await once(second, 'listening')
    t.match(second.address(), { address: '127.0.0.1', family: 'IPv4', port })
    second.close()
  },
)

t.test(
  'T9: server.close waits for its connections; a second close tells that it is not running',
  async (t) => {
    const { net, server, port } = await listening((s) => s.resume())
    const client = net.connect(port, '127.0.0.1')
    await once(client, 'connect')
    await delay(5)
    let gone = false
    const whenClosed = new Promise<void>((resolve) => server.close(() => resolve()))
    void whenClosed.then(() => {
      gone = true
    })
    t.equal(server.listening, false)
    await delay(20)
    t.equal(gone, false)
    const refused = net.connect(port, '127.0.0.1')
    t.equal((await failure(refused)).code, 'ECONNREFUSED')
    const count = await new Promise((resolve) => server.getConnections((_e, n) => resolve(n)))
    t.equal(count, 1)
    client.end()
    await whenClosed
    const error = await new Promise<Error | undefined>((resolve) => server.close(resolve))
    t.match(error, { code: 'ERR_SERVER_NOT_RUNNING' })
  },
)

t.test('T9: maxConnections turns further ones away and says so', async (t) => {
  const { net, server, port } = await listening((s) => s.resume())
  server.maxConnections = 1
  const first = net.connect(port, '127.0.0.1')
  await once(first, 'connect')
  const dropped = once(server, 'drop')
  const second = net.connect(port, '127.0.0.1').resume()
  const [data] = await dropped
  t.match(data, { localPort: port, remoteAddress: '127.0.0.1', remotePort: second.localPort })
  t.equal(await closed(second), false)
  first.end()
  server.close()
  await once(server, 'close')
})

t.test('T9: timeout fires without traffic and not with it; it closes nothing', async (t) => {
  const { net, server, port } = await listening((s) => s.pipe(s))
  const client = net.connect(port, '127.0.0.1')
  await once(client, 'connect')
  client.resume()
  const start = Date.now()
  client.setTimeout(60)
  const busy = setInterval(() => client.write('.'), 15)
  setTimeout(() => clearInterval(busy), 120)
  await once(client, 'timeout')
  t.ok(Date.now() - start >= 150, 'traffic put it off')
  t.equal(client.destroyed, false)
  t.equal(client.timeout, 60)
  client.end()
  await closed(client)
  server.close()
})

t.test('T9: an abort signal destroys a socket and closes a server', async (t) => {
  const { net, port, server } = await listening((s) => s.on('error', () => {}).resume())
  const abort = new AbortController()
  const client = net.connect({ port, host: '127.0.0.1', signal: abort.signal })
  await once(client, 'connect')
  setImmediate(() => abort.abort())
  t.equal((await failure(client)).name, 'AbortError')
  const other = net.createServer()
  const stop = new AbortController()
  other.listen({ port: 0, signal: stop.signal })
  await once(other, 'listening')
  stop.abort()
  await once(other, 'close')
  await server[Symbol.asyncDispose]()
  t.equal(server.listening, false)
})

t.test('T9: addresses, families and states on both ends', async (t) => {
  const sides: Socket[] = []
  const { net, server, port } = await listening((s) => sides.push(s))
  const client = net.connect({ port, host: 'localhost', noDelay: true, keepAlive: true })
  t.equal(client.pending, true)
  t.equal(client.remoteAddress, undefined)
  await once(client, 'connect')
  await delay(5)
  const accepted = sides[0] as Socket
  t.equal(client.readyState, 'open')
  t.match(client, {
    remoteAddress: '127.0.0.1',
    remotePort: port,
    remoteFamily: 'IPv4',
    localAddress: '127.0.0.1',
  })
  t.equal(accepted.remotePort, client.localPort)
  t.same(accepted.address(), { address: '127.0.0.1', family: 'IPv4', port })
  t.ok(client instanceof net.Socket)
  t.ok(accepted instanceof net.Socket)
  t.equal(client.resumed, null)
  t.throws(() => client.commit({}), { code: 'ERR_NO_CHECKPOINT_STORE' })
  client.destroySoon()
  await closed(client)
  accepted.destroy()
  server.close()
})

t.test('T9: bytes given before the connection, and after destroy', async (t) => {
  const { net, server, port } = await listening((s) => s.pipe(s))
  const client = new net.Socket()
  client.connect(port, '127.0.0.1')
  client.write('a')
  client.end('b')
  t.equal(client.bytesWritten, 2)
  t.equal(String(await collect(client)), 'ab')
  await closed(client)
  const error = await new Promise<NodeJS.ErrnoException | null | undefined>((resolve) =>
    client.write('c', resolve),
  )
  t.ok(error)
  server.close()
  const early = net.connect(port, '127.0.0.1')
  const failed = new Promise<NodeJS.ErrnoException | null | undefined>((resolve) =>
    early.write('x', resolve),
  )
  early.destroy()
  t.equal((await failed)?.code, 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION')
})

t.test('T9: a thousand connections come and go', async (t) => {
  const { net, server, port } = await listening((s) => s.pipe(s))
  const one = async (i: number): Promise<void> => {
    const client = net.connect(port, '127.0.0.1')
    client.end(`message ${i}`)
    const answer = String(await collect(client))
    if (answer !== `message ${i}`) throw new Error(`${i}: ${answer}`)
  }
  for (let i = 0; i < 1000; i += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, k) => one(i + k)))
  }
  const whenClosed = once(server, 'close')
  server.close()
  await whenClosed
  t.pass('all answered')
})

t.test("T9: a path is the kernel's, for servers and clients", async (t) => {
  const net = createNet()
  const folder = mkdtempSync(join(tmpdir(), 'understudy-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 's')
  const server = net.createServer((s) => s.end('by the kernel'))
  server.listen({ path } as never)
  await once(server, 'listening')
  t.equal(server.listening, true)
  const client = net.connect({ path } as never)
  t.equal(String(await collect(client)), 'by the kernel')
  server.close()
  await once(server, 'close')
})

t.test('T9: require gives an object as that of node:net', (t) => {
  const required = createRequire(import.meta.url)('../../../stack/socket/net.js')
  const { createNet: make } = required
  t.equal(make, createNet)
  const wanted = Object.keys(nodeNet).filter((name) => !name.startsWith('_'))
  t.same(
    wanted.filter((name) => typeof required[name] !== 'function'),
    [],
  )
  t.equal(typeof make().connect, 'function')
  required.more = 1
  t.equal(required.more, 1)
  t.end()
})

t.test('T9: the type of service is kept for connections to come, and checked', async (t) => {
  const { net, server, port } = await listening((socket) => socket.resume())
  const socket = new net.Socket()
  const dscp = () => (socket as unknown as { connection: { dscp: number } }).connection.dscp
  socket.setTypeOfService(0xb9)
  t.equal(socket.getTypeOfService(), 0xb8, 'the ECN field is not for applications')
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  t.equal(dscp(), 46)
  socket.setTypeOfService(0)
  t.equal(dscp(), 0)
  t.throws(() => socket.setTypeOfService(256), { code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => socket.setTypeOfService('low' as unknown as number), {
    code: 'ERR_INVALID_ARG_TYPE',
  })
  socket.destroy()
  server.close()
})
