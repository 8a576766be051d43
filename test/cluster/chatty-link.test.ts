/** A node that takes over hears what its predecessor said last, and does not wait until others have nothing to say (P9). */
import t from 'tap'
import { echo } from '../../apps/echo/server.js'
import { Frame } from '../../stack/wire/frame.js'
import { Company } from './company.js'

t.test('P9: the next owner claims while the link is never silent', async (t) => {
  const lab = new Company(t, (node) => {
    node.net.createServer({ allowHalfOpen: true }, echo).listen(7)
  })
  const first = await lab.owner()
  await lab.joined()
  const port = lab.cluster.hub.addPort(0x02_00_00_00_00_77)
  const frame = new Frame()
  frame.reset()
  frame.end = frame.start + 60
  frame.view.setUint16(frame.start + 12, 0x88b6)
  frame.bytes.fill(0xff, frame.start, frame.start + 6)
  let turns = 0
  let chatting = true
  const chat = (): void => {
    turns++
    port.transmit(frame)
    port.flush()
    if (chatting) setImmediate(chat)
  }
  chat()
  let suspectAt = 0
  let ownerAt = 0
  let resolve = (): void => {}
  const owned = new Promise<void>((done) => {
    resolve = done
  })
  for (const id of [1, 2, 3]) {
    lab.cluster.node(id)?.on('report', (report) => {
      if (report.event === 'suspect' && suspectAt === 0) suspectAt = turns
      if (report.event !== 'owner' || id === first || ownerAt > 0) return
      ownerAt = turns
      resolve()
    })
  }
  await lab.cluster.crash(first)
  await owned
  chatting = false
  t.ok(suspectAt > 0)
  t.ok(ownerAt - suspectAt < 10, `${ownerAt - suspectAt} turns of the event loop`)
})
