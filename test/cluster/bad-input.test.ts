/**
 * Bad input for the applications that speak HTTP: garbage, oversize fields and lengths, half requests and clients that do not read. Each
 * is answered as its protocol says or dropped, nothing of it is kept for ever, and a well-behaved client beside them notices nothing.
 */
import { randomFillSync } from 'node:crypto'
import * as fs from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { replayed } from '../../apps/http/replay.js'
import { startApp } from '../../apps/index.js'
import type { Socket } from '../../stack/index.js'
import { Company, type Talk, talk, until, VIRTUAL } from './company.js'

/** Each said on a connection of its own, and what the answer begins with; null: it waits for more. */
const WRONG: readonly (readonly [string, string | Buffer, RegExp | null])[] = [
  ['garbage', randomFillSync(Buffer.alloc(5000)), /^(HTTP\/1\.1 400|$)/],
  ['another protocol', '*1\r\n$4\r\nPING\r\n', /^HTTP\/1\.1 400/],
  ['a line without an end', 'GET /'.padEnd(100_000, 'x'), /^HTTP\/1\.1 431/],
  ['too many fields', `GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(20_000)}\r\n`, /^HTTP\/1\.1 431/],
  ['no host', 'GET / HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 400/],
  [
    'two lengths',
    'PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx',
    /^HTTP\/1\.1 400/,
  ],
  [
    'both lengths',
    'PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    /^HTTP\/1\.1 400/,
  ],
  [
    'no length at all',
    'PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n',
    /^HTTP\/1\.1 400/,
  ],
  ['half a request', 'GET / HTTP/1.1\r\nHos', null],
  ['half a body', 'PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf', null],
]

async function batter(t: Test, lab: Company, path: string): Promise<void> {
  await lab.owner()
  const good = talk(lab, 80, true)
  let asked = 0
  const ask = async (): Promise<void> => {
    asked++
    good.socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
    const answers = (): number => good.heard.split('HTTP/1.1 200').length - 1
    await until(() => answers() === asked, `answered beside it (${asked})`)
  }
  await ask()
  const waiting: Talk[] = []
  for (const [what, octets, answer] of WRONG) {
    const client = talk(lab, 80, true)
    client.socket.write(octets)
    if (answer === null) {
      waiting.push(client)
    } else {
      await until(() => client.closed || client.socket.readableEnded, `refused: ${what}`)
      t.match(client.heard.slice(0, 40), answer, what)
      client.socket.destroy()
    }
    await ask()
  }
  await lab.crashOwner()
  await ask()
  for (const client of waiting) t.notOk(client.closed, 'who may still go on was not dropped')
  for (const client of [good, ...waiting]) client.socket.destroy()
}

t.test('A3: bad input for the file server', { timeout: 60_000 }, async (t) => {
  const root = fs.mkdtempSync(join(tmpdir(), 'understudy-bad-'))
  t.teardown(() => fs.rmSync(root, { recursive: true, force: true }))
  const lab = new Company(t, (node) => {
    void startApp({ name: 'http', port: 80, root }, node, (error) => t.comment(error.message))
  })
  await batter(t, lab, '/')
})

t.test('A1: bad input for a server that is replayed', { timeout: 60_000 }, async (t) => {
  const lab = new Company(t, (node) => {
    const server = createServer((req, res) => {
      req.resume()
      req.on('end', () => res.end('answer'))
    })
    node.net.createServer({ allowHalfOpen: true }, replayed(server)).listen(80)
  })
  await batter(t, lab, '/')
})

t.test('A8: bad input for the chat', { timeout: 60_000 }, async (t) => {
  const lab = new Company(t, (node) => {
    void startApp({ name: 'chat', port: 80 }, node, (error) => t.comment(error.message))
  })
  await batter(t, lab, '/')
  const createConnection = () => lab.client.connect(80, VIRTUAL) as never
  const enter = (name: string): WebSocket =>
    new WebSocket(`ws://${VIRTUAL}/chat?name=${name}`, { createConnection })
  const open = async (ws: WebSocket): Promise<void> => {
    ws.on('error', () => {})
    await until(() => ws.readyState === WebSocket.OPEN, 'open')
  }
  const heard: string[] = []
  const good = enter('good')
  good.on('message', (data) => heard.push(JSON.parse(String(data)).text))
  await open(good)
  for (const [what, octets] of [
    ['a frame without a mask', Buffer.from([0x81, 1, 65])],
    ['a frame that is too long', Buffer.from([0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4])],
    ['reserved bits', Buffer.from([0xf1, 0x80, 1, 2, 3, 4])],
    ['text that is none', Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0xff, 0xff])],
    ['noise', randomFillSync(Buffer.alloc(2000)).fill(0x7f, 0, 1)],
  ] as const) {
    const bad = enter('bad')
    await open(bad)
    ;(bad as unknown as { _socket: Socket })._socket.write(octets)
    await until(() => bad.readyState === WebSocket.CLOSED, `refused: ${what}`)
    const before = heard.length
    good.send(what)
    await until(() => heard.length > before, 'heard beside it')
    t.equal(heard.at(-1), what)
  }
  good.close()
  await until(() => good.readyState === WebSocket.CLOSED, 'closed')
})
