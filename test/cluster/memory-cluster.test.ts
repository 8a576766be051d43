/**
 * The whole system in memory: node:http over our sockets, three nodes, and a client on a stack of its own, whose download and
 * upload go on while one owner after the other dies.
 */
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startApp } from '../../apps/index.js'
import type { Net } from '../../cluster/io/index.js'
import { Company, VIRTUAL } from './company.js'

/** Calls `fail` when a third, and again when two thirds, of `length` have passed. */
function inThirds(length: number, fail: () => void): (passed: number) => void {
  const marks = [length / 3, (2 * length) / 3]
  return (passed) => {
    if (marks.length === 0 || passed < (marks[0] as number)) return
    marks.shift()
    fail()
  }
}

function request(net: Net, options: http.RequestOptions): http.ClientRequest {
  // node:http asks for a socket of node:net; ours has its shape.
  return http.request({ ...options, createConnection: () => net.connect(80, VIRTUAL) as never })
}

function download(net: Net, path: string, passed: (octets: number) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256')
    let got = 0
    const asked = request(net, { path })
    asked.on('error', reject)
    asked.on('response', (answer) => {
      answer.on('error', reject)
      answer.on('data', (chunk: Buffer) => {
        hash.update(chunk)
        got += chunk.length
        passed(got)
      })
      answer.on('end', () => resolve(`${answer.statusCode} ${got} ${hash.digest('hex')}`))
    })
    asked.end()
  })
}

function upload(
  net: Net,
  path: string,
  content: Buffer,
  passed: (octets: number) => void,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Length': content.length }
    const asked = request(net, { path, method: 'PUT', headers })
    asked.on('error', reject)
    asked.on('response', (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (chunk: string) => {
        text += chunk
      })
      answer.on('end', () => resolve(`${answer.statusCode} ${text}`))
    })
    let sent = 0
    const next = (): void => {
      let room = true
      while (room && sent < content.length) {
        room = asked.write(content.subarray(sent, sent + 65_536))
        sent = Math.min(sent + 65_536, content.length)
        passed(sent)
      }
      if (room) asked.end()
      else asked.once('drain', next)
    }
    next()
  })
}

const TITLE = 'P1 A3: a download and an upload outlive two owners each, on a hub in memory'
const STRICT = { strict: { peers: 1, alone: 'go-on' } }

t.test(TITLE, { timeout: 60_000 }, (t) => outlive(t, {}))
t.test(`D2: ${TITLE}, in strict mode`, { timeout: 60_000 }, (t) => outlive(t, STRICT))

async function outlive(t: Test, terms: object): Promise<void> {
  const root = fs.mkdtempSync(join(tmpdir(), 'understudy-test-'))
  t.teardown(() => fs.rmSync(root, { recursive: true, force: true }))
  const content = randomBytes(24 * 1024 * 1024)
  const wanted = createHash('sha256').update(content).digest('hex')
  fs.writeFileSync(join(root, 'download.bin'), content)
  const app = { name: 'http', port: 80, root }
  const lab = new Company(
    t,
    (node) => {
      void startApp(app, node, (error) => t.comment(`node ${node.config.id}: ${error.message}`))
    },
    terms,
  )
  const net = lab.client
  t.equal(await lab.owner(), 1, 'P7: the smallest id owns')

  const failing = () => inThirds(content.length, () => void lab.crashOwner())
  t.equal(await download(net, '/download.bin', failing()), `200 ${content.length} ${wanted}`)
  t.match(lab.takeovers, [
    { from: 1, to: 2, promoted: 1 },
    { from: 2, to: 3, promoted: 1 },
  ])

  for (const id of [1, 2]) lab.start(id)
  await delay(500)
  const answer = await upload(net, '/upload.bin', content, failing())
  t.equal(answer, `201 stored ${content.length} octets\n`)
  const stored = fs.readFileSync(join(root, 'upload.bin'))
  t.equal(createHash('sha256').update(stored).digest('hex'), wanted, 'the upload is exact')
  t.equal(lab.takeovers.length, 4)
  t.same(fs.readdirSync(root).sort(), ['download.bin', 'upload.bin'], 'nothing else is left')
}
