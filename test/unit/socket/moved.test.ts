/**
 * What a socket shows of take-overs: stream offsets, checkpoints, a connection that another node owns now, output that
 * differs from what the peer was sent.
 */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import type { Connection } from '../../../stack/index.js'
import { type Loopback, newLoopback } from '../../../stack/socket/loopback.js'
import { createNet, type Net, type Server, type Socket } from '../../../stack/socket/net.js'
import { failure } from './world.js'

interface Pair {
  readonly loopback: Loopback
  readonly commits: unknown[][]
  readonly servers: Net
  readonly server: Server
  readonly client: Socket
  readonly accepted: Socket
  readonly connection: Connection
}

/** A client and a server of a node whose cluster takes checkpoints; `connection` is the server's. */
async function pair(options = {}): Promise<Pair> {
  const loopback = newLoopback()
  const commits: unknown[][] = []
  const checkpoints = { commit: (...args: unknown[]) => commits.push(args) as never }
  const servers = createNet({ ...loopback.server, checkpoints })
  const clients = createNet(loopback.client)
  const server = servers.createServer(options)
  server.listen(80)
  const client = clients.connect(80, '127.0.0.1')
  const [accepted] = (await once(server, 'connection')) as [Socket]
  const connection = [...loopback.server.stack.tcp.demux.connections()][0] as Connection
  return { loopback, commits, servers, server, client, accepted, connection }
}

t.test('A2: offsets count what the application took and gave', async (t) => {
  const { client, accepted, commits, connection, server } = await pair({ pauseOnConnect: true })
  client.write('0123456789')
  await delay(10)
  t.equal(accepted.inputOffset, 0)
  t.equal(accepted.read(4), null)
  await once(accepted, 'readable')
  t.equal(accepted.inputOffset, 0)
  t.equal(String(accepted.read(4)), '0123')
  t.equal(accepted.inputOffset, 4)
  accepted.write('abc')
  t.equal(accepted.outputOffset, 3)
  accepted.commit({ at: 1 })
  t.same(commits[0]?.slice(1), [{ at: 1 }, 4, 3, []])
  t.equal(commits[0]?.[0], connection)
  accepted.commit('x', { input: 2, output: 1 })
  t.same(commits[1]?.slice(1, 4), ['x', 2, 1])
  client.destroy()
  accepted.destroy()
  server.close()
})

t.test('A2: what the connection had no room for is given to the checkpoint', async (t) => {
  const { client, accepted, commits, connection, server } = await pair()
  client.pause()
  const chunk = Buffer.alloc(1024 * 1024, 'z')
  for (let i = 0; i < 6; i++) accepted.write(Buffer.from(chunk).fill(i))
  await delay(20)
  t.equal(accepted.outputOffset, 6 * chunk.length)
  accepted.commit()
  const held = Buffer.concat(commits[0]?.[4] as Buffer[])
  t.ok(held.length > 0)
  t.equal(connection.output.offset + held.length, accepted.outputOffset)
  t.equal(held[0], Math.floor(connection.output.offset / chunk.length))
  t.equal(held.at(-1), 5)
  client.destroy()
  accepted.destroy()
  server.close()
})

t.test(
  'D7: a socket whose connection was given away ends with ERR_CONNECTION_MOVED and says nothing',
  async (t) => {
    const { client, accepted, connection, loopback, server } = await pair()
    client
      .on('error', () => t.fail('the peer must not hear of it'))
      .on('end', () => t.fail('no FIN'))
    accepted.write('before')
    await once(client, 'data')
    const sent = loopback.hub.ports[0]?.transmitted
    // As at a demotion, the address is still heard but no longer answered for.
    loopback.server.stack.setQuiet(connection.localAddress as never, true)
    const parts = loopback.server.stack.release(connection)
    const end = parts.buffers.sent.end
    accepted.write('never')
    loopback.server.kick()
    const error = (await failure(accepted)) as { code?: string }
    t.equal(error.code, 'ERR_CONNECTION_MOVED')
    t.ok(accepted.destroyed)
    await delay(50)
    t.equal(parts.buffers.sent.end, end, 'the buffers are not ours to change')
    t.equal(loopback.hub.ports[0]?.transmitted, sent)
    client.removeAllListeners().destroy()
    server.close()
    loopback.close()
  },
)

t.test(
  'P9, A2: a promoted connection is accepted with what was left behind, and goes on',
  async (t) => {
    const { client, accepted, connection, loopback, server, servers } = await pair()
    accepted.on('error', () => {})
    accepted.on('data', () => {})
    client.write('ab')
    accepted.write('ABCDEF')
    await once(client, 'data')
    await delay(60)
    const { stack } = loopback.server
    const nic = stack.nics[0] as (typeof stack.nics)[number]
    const parts = stack.release(connection)
    loopback.server.kick()
    await failure(accepted)
    server.close()
    const next = servers.createServer()
    next.listen(80)
    const { localAddress, localPort, remoteAddress, remotePort } = connection
    const ends = { localAddress, localPort, remoteAddress, remotePort } as Parameters<
      typeof stack.adopt
    >[2]
    stack.adopt(parts, nic, ends, loopback.server.now(), 2, 3, { page: 7 })
    loopback.server.kick()
    const [resumed] = (await once(next, 'connection')) as [Socket]
    t.same(resumed.resumed, { page: 7 })
    t.equal(resumed.inputOffset, 2)
    t.equal(resumed.outputOffset, 3)
    const answer = once(client, 'data')
    resumed.write('DEFGHI')
    t.equal(String((await answer)[0]), 'GHI', 'what the client has is not sent again')
    t.equal(resumed.outputOffset, 9)
    resumed.on('data', (chunk) => resumed.write(`<${chunk}>`))
    client.write('c')
    t.equal(String((await once(client, 'data'))[0]), '<c>')
    client.end()
    next.close()
  },
)
