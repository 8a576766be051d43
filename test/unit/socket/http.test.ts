/**
 * Node's own http, tls and the ws package, unchanged, on sockets of this stack.
 */
import { once } from 'node:events'
import http from 'node:http'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import t from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import type { Net, Socket } from '../../../stack/socket/net.js'
import { body, closed, collect, listening, sha256 } from './world.js'

interface Site {
  readonly net: Net
  readonly port: number
  readonly agent: http.Agent
  readonly connections: () => number
  close(): Promise<void>
}

/** An http.Server behind a server of ours, and an agent that connects through this stack. */
async function site(handler: http.RequestListener, keepAlive = true): Promise<Site> {
  const web = http.createServer(handler)
  let connections = 0
  const { net, server, port } = await listening(
    (socket) => {
      connections++
      web.emit('connection', socket)
    },
    { allowHalfOpen: true, noDelay: true },
  )
  const agent = new http.Agent({ keepAlive, maxSockets: 4 })
  // The agent keeps its own view of options; what it needs is a Duplex.
  const connecting = agent as unknown as { createConnection(options: object): Duplex }
  connecting.createConnection = (options) =>
    net.connect({
      localAddress: null,
      localPort: null,
      ...options,
      port,
      host: '127.0.0.1',
    } as never)
  const close = async (): Promise<void> => {
    agent.destroy()
    server.close()
    await once(server, 'close')
  }
  return { net, port, agent, connections: () => connections, close }
}

async function ask(
  { agent, port }: Site,
  options: http.RequestOptions,
  content?: Buffer,
): Promise<{ response: http.IncomingMessage; bytes: Buffer }> {
  const request = http.request({ host: '127.0.0.1', port, agent, ...options })
  request.end(content)
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  return { response, bytes: await collect(response) }
}

t.test('T9: node:http GET and POST, with one connection kept alive', async (t) => {
  const here = await site((request, response) => {
    void collect(request).then((bytes) => {
      response.setHeader('x-method', String(request.method))
      response.end(`${request.url} ${bytes.length} ${request.socket.remoteAddress}`)
    })
  })
  for (let i = 0; i < 20; i++) {
    const got = await ask(here, { path: `/${i}` })
    t.equal(String(got.bytes), `/${i} 0 127.0.0.1`)
  }
  const posted = await ask(here, { path: '/p', method: 'POST' }, body(300_000, 5))
  t.equal(String(posted.bytes), '/p 300000 127.0.0.1')
  t.equal(posted.response.headers['x-method'], 'POST')
  t.equal(here.connections(), 1)
  await here.close()
})

t.test(
  'T9: node:http without keep-alive: a connection per request, closed by the server',
  async (t) => {
    const here = await site((_request, response) => response.end('bye'), false)
    for (let i = 0; i < 5; i++) t.equal(String((await ask(here, {})).bytes), 'bye')
    t.equal(here.connections(), 5)
    await here.close()
  },
)

t.test('T9: node:http serves 50 MB down and takes 50 MB up', async (t) => {
  const large = body(50_000_000, 7)
  const here = await site((request, response) => {
    if (request.method === 'GET') response.end(large)
    else void collect(request).then((bytes) => response.end(sha256(bytes)))
  })
  const down = await ask(here, {})
  t.equal(down.response.headers['content-length'], String(large.length))
  t.equal(sha256(down.bytes), sha256(large))
  const up = await ask(here, { method: 'PUT' }, large)
  t.equal(String(up.bytes), sha256(large))
  await here.close()
})

t.test('T9: node:http answers pipelined requests in order', async (t) => {
  const here = await site((request, response) => {
    setTimeout(() => response.end(`<${request.url}>`), request.url === '/0' ? 20 : 0)
  })
  const client = here.net.connect(here.port, '127.0.0.1')
  const paths = [0, 1, 2, 3, 4]
  for (const i of paths) {
    const last = i === 4 ? 'Connection: close\r\n' : ''
    client.write(`GET /${i} HTTP/1.1\r\nHost: here\r\n${last}\r\n`)
  }
  const text = String(await collect(client))
  t.same(
    text.match(/<\/\d>/g),
    paths.map((i) => `</${i}>`),
  )
  await here.close()
})

t.test('T9: node:http tells a handler that its client has gone', async (t) => {
  let gone: Promise<unknown> = Promise.resolve()
  const here = await site((request, response) => {
    gone = once(response, 'close')
    response.write('first')
    request.socket.on('error', () => {})
  })
  const client = here.net.connect(here.port, '127.0.0.1')
  client.write('GET / HTTP/1.1\r\nHost: here\r\n\r\n')
  await once(client, 'data')
  client.resetAndDestroy()
  await gone
  t.pass('response closed')
  await here.close()
})

t.test('T9: ws: messages both ways over an upgraded connection', async (t) => {
  const web = http.createServer()
  const sockets = new WebSocketServer({ server: web })
  sockets.on('connection', (ws) => ws.on('message', (data, binary) => ws.send(data, { binary })))
  const { net, server, port } = await listening((s) => web.emit('connection', s), {
    allowHalfOpen: true,
  })
  const client = new WebSocket('ws://127.0.0.1/', {
    createConnection: (() => net.connect(port, '127.0.0.1')) as never,
  })
  await once(client, 'open')
  const message = body(1_000_000, 9)
  client.send(message)
  const [echoed] = (await once(client, 'message')) as [Buffer]
  t.equal(sha256(echoed), sha256(message))
  client.close(1000)
  const [code] = await once(client, 'close')
  t.equal(code, 1000)
  server.close()
  await once(server, 'close')
})

t.test('T9: tls over a socket of this stack', async (t) => {
  // A key shared by both ends needs no certificate.
  const psk = Buffer.from('0123456789abcdef0123456789abcdef', 'hex')
  const ciphers = 'PSK+AES128-GCM-SHA256:PSK-AES128-GCM-SHA256'
  const secure = tls.createServer({ ciphers, maxVersion: 'TLSv1.2', pskCallback: () => psk }, (s) =>
    s.pipe(s),
  )
  const accepted: Socket[] = []
  const { net, server, port } = await listening((s) => {
    accepted.push(s)
    secure.emit('connection', s)
  })
  const raw = net.connect(port, '127.0.0.1')
  const client = tls.connect({
    socket: raw,
    ciphers,
    maxVersion: 'TLSv1.2',
    checkServerIdentity: () => undefined,
    pskCallback: () => ({ psk, identity: 'test' }),
  })
  await once(client, 'secureConnect')
  const message = body(200_000, 11)
  client.write(message)
  // Node wraps foreign streams for TLS so that one end's goodbye ends both directions: it comes last.
  const chunks: Buffer[] = []
  for await (const chunk of client as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    if (client.bytesRead === message.length) client.end()
  }
  t.equal(sha256(Buffer.concat(chunks)), sha256(message))
  if (!raw.closed) await closed(raw)
  accepted[0]?.destroy()
  server.close()
  await once(server, 'close')
})
