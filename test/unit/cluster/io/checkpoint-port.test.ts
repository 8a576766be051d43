/** Checkpoints of connections that have ended, and of those that come in their place. */
import t from 'tap'
import { CheckpointPort } from '../../../../cluster/io/checkpoint-port.js'
import { MemoryCheckpointStorage, MemoryCheckpointStore } from '../../../../cluster/memory-store.js'
import {
  type Connection,
  parseIpv4Address,
  StreamBuffer,
  TcpState,
} from '../../../../stack/index.js'

const ENDS = {
  localAddress: parseIpv4Address('10.0.0.100'),
  localPort: 7,
  remoteAddress: parseIpv4Address('10.0.0.1'),
  remotePort: 50_000,
}
const KEY = { binding: 1, ...ENDS }

/** As much of a connection as a checkpoint is made of. */
function connection(iss: number, irs: number) {
  const tcb = { iss, irs, state: TcpState.ESTABLISHED as TcpState, sndNxtOffset: 0, ackedOffset: 0 }
  const buffers = { sent: new StreamBuffer(1000) }
  return {
    ...ENDS,
    tcb,
    buffers,
    receiver: { hold: null },
    released: false,
    get closed() {
      return tcb.state === TcpState.CLOSED
    },
  }
}

t.test(
  'A2: the end of a connection takes no checkpoint from the next one between its ends',
  (t) => {
    const store = new MemoryCheckpointStore(new MemoryCheckpointStorage())
    const port = new CheckpointPort(store, () => 1)
    const commit = (c: ReturnType<typeof connection>, input: number): void =>
      port.commit(c as unknown as Connection, null, input, 0, [])
    const [first, second] = [connection(100, 500), connection(200, 600)]
    commit(first, 10)
    first.tcb.state = TcpState.CLOSED
    commit(second, 1)
    port.sweep()
    t.match(store.get(KEY), { input: 1, iss: 200, irs: 600 })
    second.tcb.state = TcpState.CLOSED
    port.sweep()
    t.equal(store.get(KEY), null, 'its own end does')
    // One that has moved to another node leaves it there.
    const third = connection(300, 700)
    commit(third, 5)
    third.released = true
    port.sweep()
    t.match(store.get(KEY), { input: 5 })
    t.end()
  },
)
