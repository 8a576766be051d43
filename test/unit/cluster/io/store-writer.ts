/**
 * A process that writes to a store until it is killed, and tells its parent after each flush how far it has come.
 */
import type { FlowKey } from '../../../../cluster/flow-key.js'
import { LmdbCheckpointStore } from '../../../../cluster/io/lmdb-checkpoint-store.js'
import { LmdbMirrorStore } from '../../../../cluster/io/lmdb-mirror-store.js'
import type { Ipv4Address } from '../../../../stack/index.js'

const KEY: FlowKey = {
  binding: 1,
  localAddress: 1 as Ipv4Address,
  localPort: 80,
  remoteAddress: 2 as Ipv4Address,
  remotePort: 4000,
}

const [kind, path = ''] = process.argv.slice(2)

function writeMirror(): (n: number) => void {
  const store = new LmdbMirrorStore({ path, cluster: 'c', node: 1 })
  return (n) => {
    const record = Buffer.alloc(136)
    record.writeUInt32BE(n)
    store.putTcb(KEY, record)
    store.putText(KEY, 'sent', (n - 1) * 1000, Buffer.alloc(1000, (n - 1) % 256))
    store.putEpochSync(1, n)
    store.flush()
  }
}

function writeCheckpoints(): (n: number) => void {
  const store = new LmdbCheckpointStore({ path, cluster: 'c' })
  const table = store.open('app')
  const unsent = new Uint8Array(100)
  return (n) => {
    store.transaction(() => {
      store.put(KEY, { input: n, output: n, unsent, state: { n }, iss: 1, irs: 2 })
      table.put('input', n)
    })
  }
}

const write = kind === 'mirror' ? writeMirror() : writeCheckpoints()
let n = 0
const turn = (): void => {
  write(++n)
  process.send?.(n)
  setImmediate(turn)
}
turn()
