/** A node of a cluster for tests: no link, no clock, an authenticator that believes everybody. */
import {
  type Action,
  ClusterNode,
  DEFAULT_TIMING,
  type Ownership,
  type PermanencySet,
  parseBinding,
  smallestId,
} from '../../../cluster/index.js'
import {
  type MemoryCheckpointStorage,
  MemoryCheckpointStore,
  MemoryMirrorStore,
} from '../../../cluster/memory-store.js'
import { type Nic, Stack } from '../../../stack/index.js'

/** A turn of `node`: behind the declaration of a claim comes the take-over itself. */
export function attend(node: ClusterNode, now: number): void {
  node.handleTimeout(now)
  if (node.nextDeadline() <= now) node.handleTimeout(now)
}

export const TRUSTING = { tagLength: 4, sign: () => {}, verify: () => true }

/** A node that is driven by hand. */
export interface Party {
  readonly node: ClusterNode
  /** Its part in the one binding. */
  readonly own: Ownership
  readonly stack: Stack
  readonly nic: Nic
  /** Declarations that wait to be carried. */
  readonly sent: Uint8Array[]
  /** What the node asked for beyond declarations. */
  readonly asked: Action[]
}

/** The one binding that nodes share unless a test says otherwise. */
export const ONE: readonly PermanencySet[] = [
  { binding: parseBinding(1, '10.0.0.100/24'), policy: smallestId },
]

/** Node `id`, with checkpoints in `storage`, which nodes may share. `mac` is that of its network card. */
export function party(
  id: number,
  storage: MemoryCheckpointStorage,
  sets = ONE,
  mac = 0x02_00_00_00_00_00 + id,
  incarnation = 1000,
  mirrorStore = new MemoryMirrorStore(),
): Party {
  const stack = new Stack({ rng: { u32: () => 1 }, secret: new Int32Array(4) })
  const nic = stack.addNic({ mac, mtu: 1500 })
  const node = new ClusterNode(
    {
      id,
      incarnation,
      cluster: 'test',
      sets,
      controlAddress: 0,
      controlPort: id,
      heartbeatPort: id,
      fence: { host: 1, pid: id, startTime: 1, port: `p${id}` },
      application: '',
      timing: DEFAULT_TIMING,
    },
    {
      stack,
      nic,
      mirrorStore,
      checkpoints: new MemoryCheckpointStore(storage),
      authenticator: TRUSTING,
    },
  )
  const own = node.ownerships[0] as Ownership
  return { node, own, stack, nic, sent: [], asked: [] }
}
