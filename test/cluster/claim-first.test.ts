/** A claim is said before what it leads to is done: with thousands of connections that takes longer than the next in line waits (D3). */
import t from 'tap'
import { echo } from '../../apps/echo/server.js'
import { clusterHash, DeclarationKind, decodeDeclaration } from '../../cluster/declaration.js'
import { Company, talk, until } from './company.js'

const EXPERIMENTAL = 0x88b5
const BELIEVING = { tagLength: 16, sign: () => {}, verify: () => true }

t.test('D3: CLAIM is on the link before the first connection is promoted', async (t) => {
  const lab = new Company(t, (node) => {
    node.net.createServer({ allowHalfOpen: true }, echo).listen(7)
  })
  const first = await lab.owner()
  await lab.joined()
  const client = talk(lab, 7)
  client.socket.write('one')
  await until(() => client.heard === 'one', 'echoed')
  const kinds: number[] = []
  const ear = lab.cluster.hub.addPort(0x02_00_00_00_00_77)
  ear.attach({
    onFrame: ({ bytes, view, start, end }) => {
      if (view.getUint16(start + 12) !== EXPERIMENTAL) return
      const said = decodeDeclaration(
        bytes.subarray(start + 14, end),
        clusterHash('test'),
        BELIEVING,
      )
      if (typeof said !== 'number') kinds.push(said.kind)
    },
    onBatchEnd: () => {},
  })
  let claimed: boolean | null = null
  for (const id of [1, 2, 3].filter((id) => id !== first)) {
    const stack = lab.cluster.node(id)?.stack
    if (stack === undefined) continue
    const adopt = stack.adopt.bind(stack)
    stack.adopt = (...args) => {
      ear.drain()
      claimed ??= kinds.includes(DeclarationKind.CLAIM)
      return adopt(...args)
    }
  }
  await lab.crashOwner()
  client.socket.write('two')
  await until(() => client.heard === 'onetwo', 'echoed by the next')
  t.equal(claimed, true)
  t.ok(kinds.includes(DeclarationKind.CLAIM))
  client.socket.destroy()
})
