/** The file server and the choice of applications, on a hub in memory, with a client of node:http. */
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parseRange } from '../../../apps/files/range.js'
import { startApp } from '../../../apps/index.js'
import {
  type AppConfig,
  checkNodeConfig,
  MemoryCluster,
  type Net,
  type NodeRuntime,
  parseIpv4Address,
} from '../../../cluster/io/index.js'

const VIRTUAL = '10.77.0.100'

interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

interface Place {
  readonly root: string
  readonly node: NodeRuntime
  readonly client: Net
  ask(
    method: string,
    path: string,
    headers?: http.OutgoingHttpHeaders,
    body?: string,
  ): Promise<Answer>
}

async function place(t: Test): Promise<Place> {
  const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-files-'))
  const root = join(folder, 'www')
  fs.mkdirSync(root)
  fs.writeFileSync(join(folder, 'secret.txt'), 'secret')
  const cluster = new MemoryCluster()
  t.teardown(async () => {
    await cluster.close()
    fs.rmSync(folder, { recursive: true, force: true })
  })
  const names = { cluster: 'c', keyFile: 'k', tap: 't', storeDir: 's', sharedDir: 's' }
  const binding = { address: `${VIRTUAL}/24` }
  const node = cluster.start(checkNodeConfig({ id: 1, ...names, binding }, 'test', root))
  const client = cluster.client(parseIpv4Address('10.77.0.9'), 24)
  while (!node.node.owns) await delay(5)
  const ask: Place['ask'] = (method, path, headers = {}, body) =>
    new Promise((resolve, reject) => {
      const createConnection = () => client.connect(80, VIRTUAL) as never
      const request = http.request({ method, path, headers, createConnection })
      request.once('error', reject)
      request.once('response', async (answer) => {
        const chunks: Buffer[] = []
        for await (const chunk of answer) chunks.push(chunk as Buffer)
        const { statusCode = 0 } = answer
        resolve({ status: statusCode, headers: answer.headers, body: Buffer.concat(chunks) })
      })
      request.end(body)
    })
  return { root, node, client, ask }
}

const unexpected = (t: Test) => (error: Error) => t.fail(error.message)

t.test('A3: files are served whole and in parts, and refusals say why', async (t) => {
  const { root, node, ask } = await place(t)
  const file = randomBytes(100_000)
  fs.writeFileSync(join(root, 'file.bin'), file)
  fs.mkdirSync(join(root, 'folder'))
  await startApp({ name: 'http', port: 80, root }, node, unexpected(t))

  const whole = await ask('GET', '/file.bin')
  t.match(whole, { status: 200, headers: { 'content-length': '100000', 'accept-ranges': 'bytes' } })
  t.ok(whole.body.equals(file))
  const head = await ask('HEAD', '/file.bin')
  t.match(head, { status: 200, headers: { 'content-length': '100000' } })
  t.equal(head.body.length, 0)

  const part = await ask('GET', '/file.bin', { Range: 'bytes=500-999' })
  t.match(part, { status: 206, headers: { 'content-range': 'bytes 500-999/100000' } })
  t.ok(part.body.equals(file.subarray(500, 1000)))
  const tail = await ask('GET', '/file.bin', { Range: 'bytes=-10' })
  t.ok(tail.body.equals(file.subarray(-10)))

  const beyond = await ask('GET', '/file.bin', { Range: 'bytes=100000-' })
  t.match(beyond, { status: 416, headers: { 'content-range': 'bytes */100000' } })
  t.match(String(beyond.body), /100000 octets/)
  for (const range of ['bytes=9-5', 'bytes=x', 'lines=1-2', 'bytes=0-1,5-6', 'bytes=-']) {
    const answer = await ask('GET', '/file.bin', { Range: range })
    t.equal(answer.status, 200, `${range} is ignored`)
    t.equal(answer.body.length, file.length)
  }

  for (const path of ['/missing', '/missing/', '/file.bin/', '/file.bin/x']) {
    t.match(await ask('GET', path), { status: 404 }, path)
  }
  t.match(await ask('GET', '/%zz'), { status: 400 })
  t.match(await ask('DELETE', '/file.bin'), { status: 405, headers: { allow: 'GET, HEAD, PUT' } })
})

t.test('no path leads out of the folder that is served', async (t) => {
  const { root, node, ask } = await place(t)
  await startApp({ name: 'http', port: 80, root }, node, unexpected(t))
  const wrong = [
    '/../secret.txt',
    '/%2e%2e/secret.txt',
    '/x/../../secret.txt',
    '/..%2fsecret.txt',
    '//../secret.txt',
    '/file%00.bin',
  ]
  for (const path of wrong) {
    const answer = await ask('GET', path)
    t.equal(answer.status, 404, path)
    t.notMatch(String(answer.body), /secret\n?$/)
  }
  t.match(await ask('PUT', '/../planted.txt', {}, 'x'), { status: 404 })
  t.notOk(fs.existsSync(join(root, '..', 'planted.txt')))
})

t.test('A3: a file is sent only to who needs it, RFC 9110 §13', async (t) => {
  const { root, node, ask } = await place(t)
  fs.writeFileSync(join(root, 'file.txt'), 'hello')
  await startApp({ name: 'http', port: 80, root }, node, unexpected(t))
  const { headers } = await ask('GET', '/file.txt')
  const etag = headers.etag ?? ''
  const date = headers['last-modified'] ?? ''
  const earlier = new Date(Date.parse(date) - 1000).toUTCString()
  const cases: readonly (readonly [http.OutgoingHttpHeaders, number])[] = [
    [{ 'If-None-Match': etag }, 304],
    [{ 'If-None-Match': `"x", W/${etag}` }, 304],
    [{ 'If-None-Match': '*' }, 304],
    [{ 'If-None-Match': '"x"' }, 200],
    [{ 'If-Modified-Since': date }, 304],
    [{ 'If-Modified-Since': earlier }, 200],
    [{ 'If-Modified-Since': 'no date' }, 200],
    [{ 'If-None-Match': '"x"', 'If-Modified-Since': date }, 200],
    [{ 'If-Match': etag }, 200],
    [{ 'If-Match': `W/${etag}` }, 412],
    [{ 'If-Match': '"x"' }, 412],
    [{ 'If-Unmodified-Since': date }, 200],
    [{ 'If-Unmodified-Since': earlier }, 412],
    [{ Range: 'bytes=0-1', 'If-Range': etag }, 206],
    [{ Range: 'bytes=0-1', 'If-Range': '"x"' }, 200],
    [{ Range: 'bytes=0-1', 'If-Range': date }, 206],
    [{ Range: 'bytes=0-1', 'If-Range': earlier }, 200],
  ]
  for (const [fields, status] of cases) {
    const answer = await ask('GET', '/file.txt', fields)
    t.equal(answer.status, status, JSON.stringify(fields))
    if (status === 304) t.match(answer, { headers: { etag }, body: Buffer.alloc(0) })
  }
  const length = { 'Content-Length': 3 }
  const put = (path: string, fields: object) => ask('PUT', path, { ...length, ...fields }, 'new')
  t.match(await put('/file.txt', { 'If-None-Match': '*' }), { status: 412 })
  t.match(await put('/file.txt', { 'If-Match': '"x"' }), { status: 412 })
  t.match(await put('/other.txt', { 'If-Match': '*' }), { status: 412 })
  t.equal(fs.readFileSync(join(root, 'file.txt'), 'utf8'), 'hello')
  t.match(await put('/file.txt', { 'If-Match': etag }), { status: 200 })
  t.match(await put('/other.txt', { 'If-None-Match': '*' }), { status: 201 })
})

t.test('A3: folders have pages, and files a digest when it is asked for', async (t) => {
  const { root, node, ask } = await place(t)
  fs.mkdirSync(join(root, 'sub'))
  fs.writeFileSync(join(root, 'a <b>&.txt'), 'hello')
  fs.writeFileSync(join(root, '.hidden'), '')
  fs.writeFileSync(join(root, 'sub', 'index.html'), '<p>index</p>')
  await startApp({ name: 'http', port: 80, root }, node, unexpected(t))
  const page = await ask('GET', '/')
  t.match(page, { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } })
  t.match(String(page.body), '<a href="a%20%3Cb%3E%26.txt">a &#60;b&#62;&#38;.txt</a><td>5<td>')
  t.match(String(page.body), '<a href="sub/">sub/</a>')
  t.notMatch(String(page.body), 'hidden')
  t.match(await ask('GET', '/sub'), { status: 301, headers: { location: 'sub/' } })
  const index = await ask('GET', '/sub/')
  t.match(index, { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } })
  t.equal(String(index.body), '<p>index</p>')
  const head = await ask('HEAD', '/')
  t.match(head, { status: 200, body: Buffer.alloc(0) })

  const digest = createHash('sha256').update('hello')
  const [hex, base64] = [digest.copy().digest('hex'), digest.digest('base64')]
  const path = `/${encodeURIComponent('a <b>&.txt')}`
  t.equal(String((await ask('GET', `${path}?sha256`)).body), `${hex}  a <b>&.txt\n`)
  const wanted = await ask('GET', path, { 'Want-Repr-Digest': 'sha-512=3, sha-256=10' })
  t.match(wanted, { headers: { 'repr-digest': `sha-256=:${base64}:` } })
  const none = await ask('GET', path, { 'Want-Repr-Digest': 'sha-256=0' })
  t.equal(none.headers['repr-digest'], undefined)
})

t.test('an upload says how long it is, and appears under its name only when whole', async (t) => {
  const { root, node, client, ask } = await place(t)
  await startApp({ name: 'http', port: 80, root }, node, () => {})
  const stored = await ask('PUT', '/new.txt', { 'Content-Length': 5 }, 'hello')
  t.match(stored, { status: 201 })
  t.equal(fs.readFileSync(join(root, 'new.txt'), 'utf8'), 'hello')
  const empty = await ask('PUT', '/empty.txt', { 'Content-Length': 0 })
  t.match(empty, { status: 201 })
  t.equal(fs.readFileSync(join(root, 'empty.txt'), 'utf8'), '')

  const endless = await ask('PUT', '/chunked.txt', { 'Transfer-Encoding': 'chunked' }, 'hello')
  t.match(endless, { status: 411 })
  t.match(String(endless.body), /Content-Length/)
  t.match(await ask('PUT', '/no/such/folder.txt', { 'Content-Length': 1 }, 'x'), { status: 409 })
  t.match(await ask('PUT', '/folder/', { 'Content-Length': 1 }, 'x'), { status: 409 })
  const part = { 'Content-Length': 1, 'Content-Range': 'bytes 0-0/2' }
  t.match(await ask('PUT', '/new.txt', part, 'x'), { status: 400 })
  t.match(await ask('PUT', '/new.txt', { 'Content-Length': 5 }, 'hallo'), { status: 200 })

  const socket = client.connect(80, VIRTUAL)
  socket.write('PUT /half.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf')
  const halves = (): string[] => fs.readdirSync(root).filter((name) => name.includes('half'))
  for (let i = 0; i < 500 && halves().length === 0; i++) await delay(10)
  t.equal(halves().length, 1, 'a part file')
  socket.destroy()
  for (let i = 0; i < 500 && halves().length > 0; i++) await delay(10)
  t.same(fs.readdirSync(root).sort(), ['empty.txt', 'new.txt'], 'what was torn off is gone')
})

t.test('applications that cannot start say why', async (t) => {
  const { root, node } = await place(t)
  const start = (app: AppConfig) => startApp(app, node, unexpected(t))
  await start({ name: 'echo', port: 7 })
  await t.rejects(start({ name: 'http', port: 7, root }), {
    code: 'EADDRINUSE',
    message: /app.port: port 7 .*choose another/,
  })
  await t.rejects(start({ name: 'gopher', port: 70 }), {
    code: 'ERR_UNKNOWN_APP',
    message: /http, chat, echo, kv, nfs, proxy, sql and ticker/,
  })
  await t.rejects(start({ name: 'http', port: 80 }), { code: 'ERR_CONFIG', message: /app.root/ })
  await t.rejects(start({ name: 'http', port: 80, root: join(root, 'nowhere') }), {
    code: 'ERR_CONFIG',
    message: /no folder .*nowhere/,
  })
})

t.test('ranges: RFC 9110 §14', async (t) => {
  t.same(parseRange(undefined, 10), { kind: 'whole' })
  t.same(parseRange('bytes=0-', 10), { kind: 'part', first: 0, last: 9 })
  t.same(parseRange('bytes=3-100', 10), { kind: 'part', first: 3, last: 9 })
  t.same(parseRange('bytes=-100', 10), { kind: 'part', first: 0, last: 9 })
  t.same(parseRange('bytes=-0', 10), { kind: 'unsatisfiable' })
  t.same(parseRange('bytes=0-0', 0), { kind: 'unsatisfiable' })
  t.same(parseRange('bytes=10-', 10), { kind: 'unsatisfiable' })
  t.same(parseRange('bytes=5-4', 10), { kind: 'whole' })
})
