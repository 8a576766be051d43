/** The file server and the choice of applications, on a hub in memory, with a client of node:http. */
import { randomBytes } from 'node:crypto'
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

  for (const path of ['/missing', '/folder', '/folder/', '/', '/file.bin/x']) {
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
  t.match(await ask('PUT', '/no/such/folder.txt', { 'Content-Length': 1 }, 'x'), { status: 404 })

  const socket = client.connect(80, VIRTUAL)
  socket.write('PUT /half.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf')
  await delay(50)
  t.equal(fs.readdirSync(root).filter((name) => name.includes('half')).length, 1, 'a part file')
  socket.destroy()
  for (let i = 0; i < 100 && fs.readdirSync(root).some((name) => name.includes('half')); i++) {
    await delay(10)
  }
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
    message: /http, echo, kv, sql and proxy/,
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
