/**
 * No application lets the last octets of an answer wait for an acknowledgement (Nagle): with a client that delays its own, each answer of
 * two writes would take 40 ms.
 */
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import t from 'tap'
import { replayed } from '../../apps/http/replay.js'
import { startApp } from '../../apps/index.js'
import { type NodeRuntime, parseIpv4Address } from '../../cluster/io/index.js'
import { Company, talk, until } from './company.js'

const GET = 'GET /missing HTTP/1.1\r\nHost: x\r\n\r\n'
const SERVER = '10.77.0.50'

/** The node's connections that would wait. */
function delayed(node: NodeRuntime | undefined): { open: number; waiting: number } {
  const found = { open: 0, waiting: 0 }
  for (const connection of node?.stack.tcp.demux.connections() ?? []) {
    found.open++
    if (!connection.sender.noDelay) found.waiting++
  }
  return found
}

const app = (name: string, more: object = {}) => ({ name, port: 80, ...more })
const APPS: Record<string, (node: NodeRuntime) => void> = {
  http: (node) => void startApp(app('http', { root: tmpdir() }), node, () => {}),
  replay: (node) => {
    const server = createServer((_, res) => res.writeHead(404).end('no such file'))
    node.net.createServer({ allowHalfOpen: true }, replayed(server)).listen(80)
  },
  proxy: (node) => void startApp(app('proxy', { to: `${SERVER}:80` }), node, () => {}),
}

for (const [name, serve] of Object.entries(APPS)) {
  t.test(`A3 A7: ${name} waits for no acknowledgement, nor does the next owner`, async (t) => {
    const lab = new Company(t, serve)
    const behind = lab.cluster.client(parseIpv4Address(SERVER), 24)
    behind
      .createServer((socket) => void socket.on('data', () => socket.write('404 Not Found')))
      .listen(80)
    const first = await lab.owner()
    const client = talk(lab, 80)
    client.socket.write(GET)
    await until(() => client.heard.includes('404'), 'answered')
    t.match(delayed(lab.cluster.node(first)), { open: name === 'proxy' ? 2 : 1, waiting: 0 })
    await lab.crashOwner()
    const heard = client.heard.length
    client.socket.write(GET)
    await until(() => client.heard.length > heard, 'answered again')
    const second = await lab.owner()
    t.not(second, first)
    t.match(delayed(lab.cluster.node(second)), { open: name === 'proxy' ? 2 : 1, waiting: 0 })
    client.socket.destroy()
  })
}
