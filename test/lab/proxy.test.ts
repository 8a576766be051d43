/**
 * The permanent proxy on a real bridge (A7): a client and a server of the kernel's, both unchanged, and the proxies between them die one
 * after the other: a download and an upload through them are exact, on one connection each.
 */
import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Lab } from '../../scripts/lab/lab.js'
import { curl, ended, hashOf, killOwner, randomFile, whyNoLab } from './support.js'

const why = await whyNoLab()
const SERVER = '10.77.0.10:8080'
const MEGABYTES = 48

/** An HTTP server on the kernel's sockets: GET gives the file, slowly enough to be interrupted, PUT answers with a hash. */
const PROGRAM = `
  import { createServer } from 'node:http'
  import { createHash } from 'node:crypto'
  import { createReadStream, statSync } from 'node:fs'
  const [file] = process.argv.slice(1)
  createServer((request, response) => {
    if (request.method === 'GET') {
      response.setHeader('Content-Length', statSync(file).size)
      createReadStream(file).pipe(response)
      return
    }
    const hash = createHash('sha256')
    request.on('data', (chunk) => hash.update(chunk))
    request.on('end', () => response.end(hash.digest('hex')))
  }).listen(8080, () => console.log('ready'))
`

t.test(
  'A7 P1: neither client nor server notices that the proxy between them dies',
  { skip: why },
  async (t) => {
    const scratch = fs.mkdtempSync(join(tmpdir(), 'understudy-proxy-'))
    t.teardown(() => fs.rmSync(scratch, { recursive: true, force: true }))
    const file = join(scratch, 'file.bin')
    const sent = join(scratch, 'sent.bin')
    const hash = randomFile(file, MEGABYTES * 1024 * 1024)
    fs.writeFileSync(sent, randomBytes(MEGABYTES * 1024 * 1024))
    const lab = await Lab.create({ nodes: 3, clients: 2, app: 'proxy', to: SERVER })
    t.teardown(() => lab.close())
    const server = lab.spawnInClient(
      [process.execPath, '--input-type=module', '-e', PROGRAM, file],
      1,
    )
    t.teardown(() => server.kill())
    await lab.startAll()
    const counting = lab.startCounting()
    const [address = ''] = lab.record.address.split('/')
    const url = `http://${address}:8080/`
    const limited = ['--limit-rate', '24M']

    const got = join(scratch, 'got.bin')
    const download = curl(lab, ...limited, '-o', got, url)
    await delay(500)
    await killOwner(lab)
    const first = await download
    t.equal(first.code, 0, first.stderr)
    t.equal(hashOf(got), hash)

    const upload = curl(lab, ...limited, '-T', sent, url)
    await delay(500)
    await killOwner(lab)
    const second = await upload
    t.equal(second.code, 0, second.stderr)
    t.equal(second.stdout, createHash('sha256').update(fs.readFileSync(sent)).digest('hex'))

    const takeovers = lab.events.filter(({ event }) => event === 'takeover')
    t.equal(takeovers.length, 2)
    for (const takeover of takeovers) {
      t.ok(Number(takeover.promoted) >= 2, 'both sides of the pair')
      t.same(takeover.givenUp, {})
    }
    if (counting) t.match(lab.wireCounts(), { syns: 2, resetsIn: 0, resetsOut: 0 })
    server.kill()
    await ended(server).catch(() => undefined)
  },
)
