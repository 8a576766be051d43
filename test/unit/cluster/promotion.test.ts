/** What is said behind a take-over of many connections, and of which. */
import t from 'tap'
import { DoubtfulData } from '../../../cluster/declaration.js'
import { MemoryCheckpointStorage, MemoryCheckpointStore } from '../../../cluster/memory-store.js'
import { promoteAll } from '../../../cluster/takeover.js'
import { ACK, PSH, parseIpv4Address, Stack } from '../../../stack/index.js'
import { overhearing, PEER_PORT } from './overhearing.js'

const COUNT = 400
/** What came last of this one was not acknowledged. */
const OWED = 390

t.test(
  'P9: of many connections those speak at once that owe something, and some of the others',
  (t) => {
    const { snooper, open, say } = overhearing()
    for (let i = 0; i < COUNT; i++) {
      const port = PEER_PORT + i
      open(1000, port)
      say('inbound', 101, 501, ACK | PSH, 1001, port, 10)
      say('outbound', 501, 111, ACK, 1001, port)
      if (i === OWED) say('inbound', 111, 501, ACK | PSH, 1002, port, 10)
    }
    const stack = new Stack({ rng: { u32: () => 1 }, secret: new Int32Array(4) })
    const nic = stack.addNic({ mac: 3, mtu: 1500 })
    nic.setAddress(parseIpv4Address('10.0.0.100'), 24, 'assigned')
    const checkpoints = new MemoryCheckpointStore(new MemoryCheckpointStorage())
    const count = promoteAll(stack, nic, snooper, checkpoints, 1100, DoubtfulData.DELIVER)
    t.match(count, { connections: COUNT, promoted: COUNT })
    const spoke = new Set<number>()
    for (let f = stack.pollTransmit(1100); f !== null; f = stack.pollTransmit(1100)) {
      // The client's port, behind Ethernet and IPv4.
      spoke.add(f.view.getUint16(f.start + 36) - PEER_PORT)
    }
    t.ok(spoke.has(OWED), 'what was not acknowledged is')
    t.ok(spoke.has(0), 'the first ones speak in any case')
    t.equal(spoke.size, 257)
    // Those that kept silent ask a while later, each in its own time.
    stack.handleTimeout(1100 + 3000)
    for (let f = stack.pollTransmit(4100); f !== null; f = stack.pollTransmit(4100)) {
      spoke.add(f.view.getUint16(f.start + 36) - PEER_PORT)
    }
    t.equal(spoke.size, COUNT)
    t.end()
  },
)
