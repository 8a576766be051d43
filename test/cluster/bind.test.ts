/**
 * A program that binds the virtual address for itself alone, on the owner of the binding and on the others.
 */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { NodeRuntime, Server } from '../../cluster/io/index.js'
import { Company, VIRTUAL } from './company.js'

const PORT = 80

type Failure = Error & {
  code: string
  errno: number
  syscall: string
  address: string
  port: number
}

/** Listens with `options`; what it says, or its error. */
async function listens(node: NodeRuntime, options: object): Promise<Server | Failure> {
  const server = node.net.createServer((socket) => socket.end('exclusive'))
  server.listen({ port: PORT, ...options })
  try {
    await once(server, 'listening')
    return server
  } catch (error) {
    return error as Failure
  }
}

const binds = (node: NodeRuntime): Promise<Server | Failure> =>
  listens(node, { host: VIRTUAL, exclusive: true })

function refused(t: Test, outcome: Server | Failure, message: string): void {
  const { code, errno, syscall, address, port } = outcome as Failure
  const fields = { code, errno, syscall, address, port }
  const wanted = { code: 'EADDRINUSE', errno: -98, syscall: 'listen', address: VIRTUAL, port: PORT }
  t.same(fields, wanted, message)
}

async function knowsOwner(node: NodeRuntime, owner: number): Promise<void> {
  const known = () => node.node.ownershipAt(node.config.sets[0]?.binding.address ?? 0, PORT)?.owner
  for (let i = 0; i < 1000 && known() !== owner; i++) await delay(5)
}

async function hello(company: Company): Promise<string> {
  const socket = company.client.connect(PORT, VIRTUAL)
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  await once(socket, 'end')
  socket.destroy()
  return text
}

t.test(
  'P10: an exclusive listen fails while the owner is alive, and succeeds when it is dead',
  async (t) => {
    const company = new Company(t, () => {})
    const node = (id: number) => company.cluster.node(id) as NodeRuntime
    refused(t, await binds(node(2)), 'nobody is known to own it yet, and nobody to be dead')
    const first = await company.owner()
    const [second = 0, third = 0] = [1, 2, 3].filter((id) => id !== first)
    for (const id of [second, third]) {
      await knowsOwner(node(id), first)
      refused(t, await binds(node(id)), `node ${first} owns it, and not node ${id}`)
    }
    const owned = (await binds(node(first))) as Server
    t.equal(owned.listening, true, 'the owner itself binds it')
    await company.crashOwner()
    const next = await company.owner()
    t.not(next, first)
    const bound = (await binds(node(next))) as Server
    t.match(bound.address(), { address: VIRTUAL, port: PORT })
    t.equal(await hello(company), 'exclusive')
    const other = next === second ? third : second
    await knowsOwner(node(other), next)
    refused(t, await binds(node(other)), 'it has another owner now')
    company.start(first)
    refused(t, await binds(node(first)), 'who owned it first is back, and does not know yet')
    await knowsOwner(node(first), next)
    refused(t, await binds(node(first)), 'who owned it first does not handle it now')
  },
)

t.test('P10, P9: a listener that is not exclusive is attached on a standby, too', async (t) => {
  const company = new Company(t, () => {})
  const owner = await company.owner()
  const standby = company.cluster.node(owner === 1 ? 2 : 1) as NodeRuntime
  await knowsOwner(standby, owner)
  const warm = (await listens(standby, { host: VIRTUAL })) as Server
  t.equal(warm.listening, true, 'warm, on the virtual address')
  warm.close()
  const anywhere = (await listens(standby, { exclusive: true })) as Server
  t.equal(anywhere.listening, true, 'on every address at once')
  const own = (await listens(company.cluster.node(owner) as NodeRuntime, {})) as Server
  t.equal(own.listening, true)
  const alone = (await binds(company.cluster.node(owner) as NodeRuntime)) as Server
  t.equal(alone.listening, true, 'the address may be bound beside every address (P9)')
  refused(t, await binds(company.cluster.node(owner) as NodeRuntime), 'but once')
})
