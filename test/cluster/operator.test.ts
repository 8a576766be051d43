/** What an operator is told (O3): status, metrics, health, and the door that stays shut for others' pages. */
import * as fs from 'node:fs'
import * as http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import {
  checkNodeConfig,
  fetchView,
  MemoryCluster,
  type NodeRuntime,
  OperatorServer,
  parseIpv4Address,
} from '../../cluster/io/index.js'
import { nodeMetrics } from '../../cluster/io/metrics.js'

const VIRTUAL = '10.77.0.100'

function startNode(cluster: MemoryCluster, id: number): NodeRuntime {
  const none = 'none'
  const fields = { id, cluster: 'test', keyFile: none, tap: none, storeDir: none, sharedDir: none }
  const config = checkNodeConfig({ ...fields, binding: { address: `${VIRTUAL}/24` } }, 'test', '/')
  const runtime = cluster.start(config)
  runtime.net.createServer((socket) => socket.pipe(socket)).listen(7)
  return runtime
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return
    await delay(10)
  }
  throw new Error(`never: ${what}`)
}

function get(
  t: Test,
  url: string,
  options: http.RequestOptions = {},
): Promise<{ status: number; text: string; type: string }> {
  return new Promise((resolve, reject) => {
    const asked = http.request(url, options, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          text,
          type: String(response.headers['content-type']),
        }),
      )
    })
    asked.on('error', reject)
    asked.end()
    t.teardown(() => asked.destroy())
  })
}

t.test('O3: a status tells connections, shadows and the steps of a take-over', async (t) => {
  const cluster = new MemoryCluster()
  t.teardown(() => cluster.close())
  const first = startNode(cluster, 1)
  await until(() => first.node.owns, 'node 1 owns')
  const second = startNode(cluster, 2)
  const client = cluster.client(parseIpv4Address('10.77.0.9'), 24).connect(7, VIRTUAL)
  t.teardown(() => client.destroy())
  client.on('error', () => {})
  let echoed = ''
  client.setEncoding('latin1').on('data', (text: string) => {
    echoed += text
  })
  client.write('before')
  await until(() => echoed === 'before', 'an echo')
  await until(() => second.status().bindings[0]?.shadows.ready === 1, 'a shadow')

  const owner = first.status()
  t.match(owner.bindings, [{ id: 1, address: VIRTUAL, state: 'owner', owner: 1, connections: 1 }])
  t.match(owner.bindings[0]?.told, [
    { local: `${VIRTUAL}:7`, state: 'ESTABLISHED', received: 6, sent: 6, verdict: 'owned', gap: 0 },
  ])
  t.match(owner.peers, [{ id: 2, up: true }])
  t.match(second.status().bindings[0]?.told, [{ received: 6, sent: 6, verdict: 'ready' }])

  await cluster.crash(1)
  await until(() => second.node.owns, 'node 2 owns')
  client.write(' and behind')
  await until(() => echoed === 'before and behind', 'an echo of the next owner')
  const { takeovers, decisions } = second.status()
  t.match(takeovers, [{ binding: 1, from: 1, to: 2, connections: 1, promoted: 1, givenUp: {} }])
  const [takeover] = takeovers
  const { suspectedMs = -1, fencedMs = -1, claimedMs = -1, answeredMs } = takeover ?? {}
  t.ok(0 <= suspectedMs && suspectedMs <= fencedMs && fencedMs <= claimedMs, 'in order')
  t.ok((answeredMs ?? -1) >= claimedMs, 'and a client answered behind the claim')
  t.match(
    decisions.map(({ report }) => report.event),
    ['peer', 'standby', 'joined', 'suspect', 'owner', 'takeover'],
  )

  const metrics = await nodeMetrics(() => second.status(), second.log).metrics()
  t.match(metrics, /^understudy_owner\{binding="1"\} 1$/m)
  t.match(metrics, /^understudy_connections\{binding="1"\} 1$/m)
  t.match(metrics, /^understudy_takeovers_total\{cause="\w+"\} 1$/m)
  t.match(metrics, /^understudy_last_takeover_claimed_seconds\{cause="\w+"\} [\d.e-]+$/m)
  t.match(metrics, /^nodejs_eventloop_lag_seconds /m)
})

async function openServer(t: Test, commands: string[], fault: { is: string | null }) {
  const server = await OperatorServer.open({
    address: { host: '127.0.0.1', port: 0 },
    view: () => ({ nodes: [], verbs: ['kill'], processes: { 1: 'ready' } }),
    metrics: async () => 'one 1\n',
    ready: () => fault.is,
    command: async (verb, node) => {
      commands.push(`${verb} ${node}`)
    },
  })
  t.teardown(() => server.close())
  return server.url ?? ''
}

t.test('O3: page, status, metrics, health and readiness over HTTP', async (t) => {
  const fault: { is: string | null } = { is: null }
  const url = await openServer(t, [], fault)
  t.match(await get(t, url), { status: 200, type: /html/, text: /<title>Understudy/ })
  for (const file of ['page.mjs', 'charts.mjs', 'page.css', 'icon.svg']) {
    t.equal((await get(t, url + file)).status, 200, file)
  }
  t.match(await get(t, `${url}status`), { status: 200, text: /"processes":\{"1":"ready"\}/ })
  t.match(await get(t, `${url}metrics`), { status: 200, text: 'one 1\n' })
  t.match(await get(t, `${url}health`), { status: 200, text: 'ok\n' })
  t.match(await get(t, `${url}ready`), { status: 200, text: 'ok\n' })
  fault.is = 'nobody owns binding 1'
  t.match(await get(t, `${url}ready`), { status: 503, text: 'nobody owns binding 1\n' })
  t.equal((await get(t, `${url}../../package.json`)).status, 404)
  t.equal((await get(t, url, { method: 'PUT' })).status, 405)
})

t.test('O3: commands and the feed are for the own page only', async (t) => {
  const commands: string[] = []
  const url = await openServer(t, commands, { is: null })
  const post = (query: string, headers: http.OutgoingHttpHeaders) =>
    get(t, `${url}command?${query}`, { method: 'POST', headers })
  const own = { 'x-understudy': '1' }
  t.equal((await post('verb=kill&node=1', {})).status, 403, 'a form of another page')
  t.equal((await post('verb=kill&node=1', { ...own, host: 'evil.example' })).status, 403)
  t.equal((await post('verb=kill&node=1', { ...own, origin: 'http://evil.example' })).status, 403)
  t.equal((await post('verb=erase&node=1', own)).status, 400)
  t.equal((await post('verb=kill&node=one', own)).status, 400)
  t.same(commands, [])
  t.equal((await post('verb=kill&node=1', own)).status, 200)
  t.same(commands, ['kill 1'])

  const feedUrl = `${url.replace('http', 'ws')}feed`
  const refused = new WebSocket(feedUrl, { origin: 'http://evil.example' })
  t.match(await new Promise((resolve) => refused.once('error', resolve)), { message: /403/ })
  const feed = new WebSocket(feedUrl)
  t.teardown(() => feed.terminate())
  const text = await new Promise((resolve) => feed.once('message', resolve))
  t.match(JSON.parse(String(text)), { verbs: ['kill'] })
})

t.test('O3: a Unix socket serves one user, and what is not there is said', async (t) => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-operator-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true }))
  const socket = join(folder, 'node.sock')
  await t.rejects(fetchView({ socket }), { code: 'ERR_OPERATOR_UNREACHABLE', message: /ENOENT/ })
  const view = { nodes: [], verbs: [], processes: {} }
  const server = await OperatorServer.open({ address: { socket }, view: () => view })
  t.equal(fs.statSync(socket).mode & 0o777, 0o600)
  t.same(await fetchView({ socket }), view)
  await server.close()
  t.notOk(fs.existsSync(socket))
  const other = await openServer(t, [], { is: null })
  const port = Number(new URL(other).port)
  await t.rejects(OperatorServer.open({ address: { host: '127.0.0.1', port }, view: () => view }), {
    code: 'ERR_OPERATOR_ADDRESS',
    message: /EADDRINUSE/,
  })
})
