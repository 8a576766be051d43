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
import {
  checkNodeConfig,
  MemoryCluster,
  type NodeReport,
  parseIpv4Address,
} from '../../cluster/io/index.js'

const VIRTUAL = '10.77.0.100'

function newCluster(
  t: Test,
  root: string,
): { cluster: MemoryCluster; reports: NodeReport[]; start: (id: number) => void } {
  const cluster = new MemoryCluster()
  const reports: NodeReport[] = []
  const start = (id: number): void => {
    const app = { name: 'http', port: 80, root }
    const config = checkNodeConfig(
      {
        id,
        cluster: 'test',
        keyFile: 'none',
        tap: 'none',
        storeDir: 'none',
        sharedDir: 'none',
        binding: { address: `${VIRTUAL}/24` },
        app,
      },
      'test',
      root,
    )
    const runtime = cluster.start(config)
    runtime.on('report', (report) => reports.push(report))
    startApp(app, runtime.net, (error) => t.comment(`node ${id}: ${error.message}`))
  }
  t.teardown(() => cluster.close())
  return { cluster, reports, start }
}

async function awaitOwner(cluster: MemoryCluster, ids: number[]): Promise<number> {
  for (let i = 0; i < 500; i++) {
    const owner = ids.find((id) => cluster.node(id)?.node.state === 'owner')
    if (owner !== undefined) return owner
    await delay(10)
  }
  throw new Error('nobody owns the address')
}

function folder(t: Test): string {
  const path = fs.mkdtempSync(join(tmpdir(), 'understudy-test-'))
  t.teardown(() => fs.rmSync(path, { recursive: true, force: true }))
  return path
}

t.test(
  'P1 A3: a download and an upload outlive two owners each, on a hub in memory',
  { timeout: 60_000 },
  async (t) => {
    const root = folder(t)
    const content = randomBytes(24 * 1024 * 1024)
    const wanted = createHash('sha256').update(content).digest('hex')
    fs.writeFileSync(join(root, 'download.bin'), content)
    const { cluster, reports, start } = newCluster(t, root)
    for (const id of [1, 2, 3]) start(id)
    const net = cluster.client(parseIpv4Address('10.77.0.9'), 24)
    t.equal(await awaitOwner(cluster, [1, 2, 3]), 1, 'P7: the smallest id owns')

    const hash = createHash('sha256')
    let got = 0
    const failAt = [content.length / 3, (2 * content.length) / 3]
    await new Promise<void>((resolve, reject) => {
      const req = http.get(
        { createConnection: () => net.connect(80, VIRTUAL) as never, path: '/download.bin' },
        (res) => {
          t.equal(res.statusCode, 200)
          res.on('data', (chunk: Buffer) => {
            hash.update(chunk)
            got += chunk.length
            if (failAt.length > 0 && got >= (failAt[0] as number)) {
              failAt.shift()
              void awaitOwner(cluster, [1, 2, 3]).then((id) => cluster.crash(id))
            }
          })
          res.on('end', resolve)
          res.on('error', reject)
        },
      )
      req.on('error', reject)
    })
    t.equal(got, content.length)
    t.equal(hash.digest('hex'), wanted, 'the download is exact')
    const takeovers = reports.filter((r) => r.event === 'takeover')
    t.match(takeovers, [
      { from: 1, to: 2, promoted: 1 },
      { from: 2, to: 3, promoted: 1 },
    ])

    for (const id of [1, 2]) start(id)
    await delay(500)
    let sent = 0
    const failUp = [content.length / 3, (2 * content.length) / 3]
    const answer = await new Promise<string>((resolve, reject) => {
      const req = http.request(
        {
          method: 'PUT',
          createConnection: () => net.connect(80, VIRTUAL) as never,
          path: '/upload.bin',
          headers: { 'Content-Length': content.length },
        },
        (res) => {
          let text = ''
          res.setEncoding('utf8')
          res.on('data', (chunk: string) => {
            text += chunk
          })
          res.on('end', () => resolve(`${res.statusCode} ${text}`))
        },
      )
      req.on('error', reject)
      const next = (): void => {
        while (sent < content.length) {
          const chunk = content.subarray(sent, sent + 65_536)
          sent += chunk.length
          if (failUp.length > 0 && sent >= (failUp[0] as number)) {
            failUp.shift()
            void awaitOwner(cluster, [1, 2, 3]).then((id) => cluster.crash(id))
          }
          if (!req.write(chunk)) {
            req.once('drain', next)
            return
          }
        }
        req.end()
      }
      next()
    })
    t.equal(answer, `201 stored ${content.length} octets\n`)
    const stored = createHash('sha256')
      .update(fs.readFileSync(join(root, 'upload.bin')))
      .digest('hex')
    t.equal(stored, wanted, 'the upload is exact')
    t.equal(reports.filter((r) => r.event === 'takeover').length, 4)
    t.same(
      fs.readdirSync(root).sort(),
      ['download.bin', 'upload.bin'],
      'nothing is left beside the files',
    )
  },
)
