/** A planned transfer takes no turn of a timer: it is said, heard and carried out in the turns of the two that take part (P24). */
import t from 'tap'
import { echo } from '../../apps/echo/server.js'
import { Company, talk, until } from './company.js'

t.test('P24: the peer owns as soon as it has heard that it is to', async (t) => {
  const lab = new Company(t, (node) => {
    node.net.createServer({ allowHalfOpen: true }, echo).listen(7)
  })
  const first = await lab.owner()
  const client = talk(lab, 7)
  client.socket.write('one')
  await until(() => client.heard === 'one', 'echoed')
  const { hub } = lab.cluster
  const giver = lab.cluster.node(first)
  const taker = lab.cluster.node(first === 1 ? 2 : 1)
  await until(() => taker?.status().bindings[0]?.shadows.ready === 1, 'overheard')
  giver?.switchover(taker?.config.id)
  hub.deliver()
  t.equal(giver?.node.owns, false)
  t.equal(taker?.node.owns, true, 'without the event loop having turned')
  client.socket.write('two')
  await until(() => client.heard === 'onetwo', 'echoed by the other')
  t.equal(lab.givenUp, 0)
  client.socket.destroy()
})
