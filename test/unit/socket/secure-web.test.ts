/** node:http2 and node:https over sockets of this stack, as they are. */
import { once } from 'node:events'
import http2 from 'node:http2'
import https from 'node:https'
import tls from 'node:tls'
import t from 'tap'
import type { Socket } from '../../../stack/socket/net.js'
import { body, collect, listening, sha256 } from './world.js'

// A key shared by both ends needs no certificate.
const psk = Buffer.from('0123456789abcdef0123456789abcdef', 'hex')
const SECRET = {
  ciphers: 'PSK+AES128-GCM-SHA256:PSK-AES128-GCM-SHA256',
  maxVersion: 'TLSv1.2',
} as const

t.test('T9: node:http2 has many streams on one connection, both ways', async (t) => {
  const web = http2.createServer()
  web.on('stream', async (stream, headers) => {
    const text = await collect(stream as never)
    stream.respond({ ':status': 200, 'x-path': headers[':path'] })
    stream.end(text)
  })
  const accepted: Socket[] = []
  const { net, server, port } = await listening((s) => {
    accepted.push(s)
    web.emit('connection', s)
  })
  const session = http2.connect('http://127.0.0.1', {
    createConnection: () => net.connect(port, '127.0.0.1') as never,
  })
  const answers = Array.from({ length: 20 }, async (_, i) => {
    const message = body(50_000, i)
    const stream = session.request({ ':path': `/${i}`, ':method': 'POST' })
    stream.end(message)
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
    t.match(headers, { ':status': 200, 'x-path': `/${i}` })
    t.equal(sha256(await collect(stream as never)), sha256(message))
  })
  await Promise.all(answers)
  t.equal(accepted.length, 1)
  session.close()
  await once(session, 'close')
  server.close()
})

t.test('T9: node:https asks and answers', async (t) => {
  const web = https.createServer(
    { ...SECRET, pskCallback: () => psk },
    async (request, response) => {
      response.end(await collect(request as never))
    },
  )
  const { net, server, port } = await listening((s) => web.emit('connection', s))
  const message = body(300_000, 5)
  const request = https.request({
    method: 'POST',
    createConnection: () =>
      tls.connect({
        ...SECRET,
        socket: net.connect(port, '127.0.0.1') as never,
        checkServerIdentity: () => undefined,
        pskCallback: () => ({ psk, identity: 'test' }),
      }),
  })
  request.end(message)
  const [response] = (await once(request, 'response')) as [never]
  t.equal(sha256(await collect(response)), sha256(message))
  server.close()
})
