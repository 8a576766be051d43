/**
 * Bad input for the file server beyond what every HTTP server gets (bad-input.test.ts): paths that lead out, ranges that cannot be, lengths
 * that are no truth, and clients that are slow. Each is answered as RFC 9110 and RFC 9112 say or dropped, nothing of it stays in the
 * folder, and a well-behaved client beside them notices nothing.
 */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createFileServer, type FileServerOptions } from '../../apps/files/server.js'
import { TcpState } from '../../stack/index.js'
import { Company, type Talk, talk, until } from './company.js'

const PORT = 80
const SECRET = 'nobody is to read this'
const BIG = 32 * 1024 * 1024

class Place {
  readonly folder: string
  readonly root: string
  readonly lab: Company
  readonly errors: string[] = []
  #asked = 0
  #good: Talk | null = null

  constructor(t: Test, options: Partial<FileServerOptions> = {}) {
    this.folder = fs.mkdtempSync(join(tmpdir(), 'understudy-bad-files-'))
    this.root = join(this.folder, 'root')
    fs.mkdirSync(this.root)
    t.teardown(() => fs.rmSync(this.folder, { recursive: true, force: true }))
    fs.writeFileSync(join(this.folder, 'outside'), SECRET)
    fs.writeFileSync(join(this.root, 'file.txt'), 'hello\n')
    this.lab = new Company(t, (node) => {
      const onError = (error: Error): void => void this.errors.push(error.message)
      const server = createFileServer({ root: this.root, onError, ...options })
      const serve = (socket: unknown): void => void server.emit('connection', socket)
      node.net.createServer({ allowHalfOpen: true }, serve).listen(PORT)
    })
  }

  /** A client beside the others is served, on one connection. */
  async good(): Promise<void> {
    await this.lab.owner()
    this.#good ??= talk(this.lab, PORT)
    const { socket } = this.#good
    socket.write('GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n')
    this.#asked++
    const good = this.#good
    await until(() => good.heard.split('hello\n').length - 1 === this.#asked, 'served beside it')
  }

  /** What is in the folder that is served. */
  get names(): string[] {
    return fs.readdirSync(this.root).sort()
  }
}

const statuses = ({ heard }: Talk): number[] =>
  [...heard.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status))

const LONG = 'x'.repeat(5000)

/** Requests on one connection, and the status of each answer. */
const ANSWERED: readonly (readonly [string, string, number])[] = [
  ['GET /../outside', '', 404],
  ['GET /a/../../outside', '', 404],
  ['GET /..%2foutside', '', 404],
  ['GET /%2e%2e/outside', '', 404],
  ['GET /%2e%2e%2foutside', '', 404],
  ['GET /..%5coutside', '', 404],
  ['GET /%252e%252e/outside', '', 404],
  ['GET //outside', '', 404],
  ['GET /file.txt%00', '', 404],
  ['GET /file.txt%00.html', '', 404],
  ['GET /file.txt/', '', 404],
  ['GET /file.txt/more', '', 404],
  ['GET /%', '', 400],
  ['GET /%zz', '', 400],
  ['GET /%ff', '', 400],
  ['GET /%c0%ae%c0%ae/outside', '', 400],
  [`GET /${LONG}`, '', 414],
  [`PUT /${LONG}`, 'Content-Length: 0\r\n', 414],
  ['GET http://x/file.txt', '', 200],
  ['GET http://x/../outside', '', 404],
  ['OPTIONS *', '', 405],
  ['DELETE /file.txt', '', 405],
  ['PUT /', 'Content-Length: 0\r\n', 409],
  ['PUT /..%2foutside', 'Content-Length: 0\r\n', 404],
  ['PUT /x%00', 'Content-Length: 0\r\n', 404],
  ['PUT /file.txt/x', 'Content-Length: 0\r\n', 409],
  ['PUT /file.txt', 'Content-Length: 0\r\nContent-Range: bytes 0-0/1\r\n', 400],
  ['GET /file.txt', 'Range: bytes=\r\n', 200],
  ['GET /file.txt', 'Range: bytes=-\r\n', 200],
  ['GET /file.txt', 'Range: bytes=a-b\r\n', 200],
  ['GET /file.txt', 'Range: lines=1-2\r\n', 200],
  ['GET /file.txt', 'Range: bytes=3-1\r\n', 200],
  ['GET /file.txt', 'Range: bytes=0-0,2-2\r\n', 200],
  ['GET /file.txt', `Range: bytes=${'0-0,'.repeat(3000)}1-1\r\n`, 200],
  ['GET /file.txt', 'Range: bytes=-0\r\n', 416],
  ['GET /file.txt', 'Range: bytes=6-\r\n', 416],
  ['GET /file.txt', 'Range: bytes=99999999999999999999-\r\n', 416],
  ['GET /file.txt', `Range: bytes=${'9'.repeat(5000)}-\r\n`, 416],
  ['GET /file.txt', 'Range: bytes=0-99999999999999999999\r\n', 206],
  ['GET /file.txt', 'Range: bytes=-99999999999999999999\r\n', 206],
  ['GET /file.txt', 'Range: bytes=0-0\r\nIf-Range: nonsense\r\n', 200],
  ['GET /file.txt', 'If-Modified-Since: never\r\nIf-Unmodified-Since: ever\r\n', 200],
  ['GET /file.txt', `If-None-Match: ${'"'.repeat(5000)}\r\n`, 200],
  ['GET /file.txt?sha256', 'Want-Repr-Digest: sha-256=99999999999999999999\r\n', 200],
]

t.test('A3: paths, ranges and conditions that cannot be', { timeout: 60_000 }, async (t) => {
  const place = new Place(t)
  await place.good()
  const client = talk(place.lab, PORT)
  for (const [i, [line, fields, status]] of ANSWERED.entries()) {
    client.socket.write(`${line} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`)
    await until(() => statuses(client).length > i, `answered: ${line}`)
    t.equal(statuses(client)[i], status, `${line} ${fields}`.slice(0, 60))
  }
  await delay(20)
  t.equal(statuses(client).length, ANSWERED.length, 'one answer each')
  t.notOk(client.heard.includes(SECRET))
  t.same(place.errors, [])
  t.same(place.names, ['file.txt'])
  await place.good()
  client.socket.destroy()
})

/** Uploads, and what is answered before the connection ends. */
const UPLOADS: readonly (readonly [string, string, number[]])[] = [
  ['less than was said, and garbage', 'Content-Length: 3\r\n\r\nnew and more', [201, 400]],
  ['a negative length', 'Content-Length: -1\r\n\r\n', [400]],
  ['a length with a sign', 'Content-Length: +3\r\n\r\nnew', [400]],
  ['two lengths in one', 'Content-Length: 3, 3\r\n\r\nnew', [400]],
  ['more than a number holds', 'Content-Length: 99999999999999999999\r\n\r\nnew', [400]],
  ['chunks', 'Transfer-Encoding: chunked\r\n\r\n3\r\nnew\r\n0\r\n\r\n', [411]],
  ['chunks of garbage', 'Transfer-Encoding: chunked\r\n\r\nzz\r\nnew\r\n', [400]],
  [
    'a chunk of all octets there are',
    'Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n',
    [400],
  ],
  [
    'a chunk longer than its size',
    'Transfer-Encoding: chunked\r\n\r\n1\r\nnew\r\n0\r\n\r\n',
    [400],
  ],
  [
    'an expectation of another kind',
    'Content-Length: 3\r\nExpect: magic\r\nConnection: close\r\n\r\nnew',
    [417],
  ],
]

t.test('A3: uploads that are not what they say', { timeout: 60_000 }, async (t) => {
  const place = new Place(t)
  await place.good()
  for (const [what, rest, wanted] of UPLOADS) {
    const client = talk(place.lab, PORT, true)
    client.socket.write(`PUT /new HTTP/1.1\r\nHost: x\r\n${rest}`)
    await until(() => client.closed || client.socket.readableEnded, `ended: ${what}`)
    const got = statuses(client)
    t.same(got.at(-1), wanted.at(-1), what)
    client.socket.destroy()
    fs.rmSync(join(place.root, 'new'), { force: true })
    await place.good()
  }
  for (const leave of ['end', 'resetAndDestroy'] as const) {
    const client = talk(place.lab, PORT, true)
    client.socket.write(
      `PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: 9007199254740993\r\n\r\n${LONG}`,
    )
    await until(() => place.names.length > 1, 'begun')
    client.socket[leave]()
    await until(() => place.names.length === 1, `nothing is left (${leave})`)
    t.notOk(client.heard.includes('stored'))
    await place.good()
  }
  t.same(place.names, ['file.txt'])
})

t.test('A3: clients that are slow', { timeout: 60_000 }, async (t) => {
  const place = new Place(t, { headMs: 400, silenceMs: 800 })
  fs.writeFileSync(join(place.root, 'big'), Buffer.alloc(BIG))
  await place.good()
  const mute = talk(place.lab, PORT, true)
  const drips = talk(place.lab, PORT, true)
  drips.socket.write('GET / HTTP/1.1\r\n')
  const dripping = setInterval(() => drips.socket.write('A: b\r\n'), 50)
  const stalls = talk(place.lab, PORT, true)
  stalls.socket.write(`PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n${LONG}`)
  const moves = talk(place.lab, PORT, true)
  moves.socket.write('PUT /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n')
  const deaf = talk(place.lab, PORT, true)
  deaf.socket.pause()
  deaf.socket.write('GET /big HTTP/1.1\r\nHost: x\r\n\r\n')
  for (let i = 0; i < 30; i++) {
    moves.socket.write('x')
    await delay(50)
  }
  clearInterval(dripping)
  await until(() => moves.heard.includes('stored 30 octets'), 'an upload takes as long as it moves')
  for (const [what, client] of Object.entries({ mute, drips, stalls })) {
    await until(() => client.closed || client.socket.readableEnded, `dropped: ${what}`)
  }
  t.same([statuses(mute), statuses(drips), statuses(stalls)], [[408], [408], []])
  const { stack } = place.lab.cluster.node(await place.lab.owner()) ?? {}
  const served = () =>
    [...(stack?.tcp.demux.connections() ?? [])].filter(
      ({ state, context }) => state === TcpState.ESTABLISHED && context !== null,
    )
  // The one that moves, and the one that is served beside it.
  await until(() => served().length === 2, 'dropped: who does not read')
  deaf.socket.resume()
  await until(() => deaf.closed || deaf.socket.readableEnded, 'at its end')
  t.ok(deaf.heard.length < BIG, `${deaf.heard.length} octets`)
  await until(() => place.names.length === 3, 'nothing is left')
  t.same(place.names, ['big', 'file.txt', 'slow'])
  await place.good()
  t.ok(process.memoryUsage().arrayBuffers < 200 * 1024 * 1024)
})

t.test('A3: a client that goes away in the middle, of an upload too, is no error', async (t) => {
  const place = new Place(t)
  await place.good()
  fs.writeFileSync(join(place.root, 'big.bin'), Buffer.alloc(8_000_000))
  for (const leave of ['destroy', 'resetAndDestroy'] as const) {
    const client = talk(place.lab, PORT)
    client.socket.write('GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n')
    await until(() => client.heard.length > 100_000, 'in the middle of it')
    client.socket[leave]()
    const sender = talk(place.lab, PORT)
    sender.socket.write('PUT /new.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n')
    sender.socket.write(Buffer.alloc(100_000))
    await until(() => place.names.length === 3, 'in the middle of it')
    sender.socket[leave]()
    await until(() => place.names.length === 2, 'nothing is left')
  }
  await place.good()
  await delay(50)
  t.same(place.errors, [])
})
