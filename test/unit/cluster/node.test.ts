/**
 * ClusterNode's decisions where messages cross: two nodes whose declarations are carried by hand.
 */
import t from 'tap'
import {
  type Action,
  ClusterNode,
  DEFAULT_TIMING,
  parseBinding,
  smallestId,
} from '../../../cluster/index.js'
import {
  MemoryCheckpointStorage,
  MemoryCheckpointStore,
  MemoryMirrorStore,
} from '../../../cluster/memory-store.js'
import { Stack } from '../../../stack/index.js'

const TRUSTING = { tagLength: 4, sign: () => {}, verify: () => true }
const STEP = 10

interface Party {
  readonly node: ClusterNode
  readonly stack: Stack
  /** Declarations that wait to be carried. */
  readonly sent: Uint8Array[]
  /** What the node asked for beyond declarations. */
  readonly asked: Action[]
}

function party(id: number, storage: MemoryCheckpointStorage): Party {
  const stack = new Stack({ rng: { u32: () => 1 }, secret: new Int32Array(4) })
  const nic = stack.addNic({ mac: 0x02_00_00_00_00_00 + id, mtu: 1500 })
  const node = new ClusterNode(
    {
      id,
      incarnation: 1000,
      cluster: 'test',
      binding: parseBinding(1, '10.0.0.100/24'),
      controlAddress: 0,
      controlPort: id,
      heartbeatPort: id,
      fence: { host: 1, pid: id, startTime: 1, port: `p${id}` },
      application: '',
      policy: smallestId,
      timing: DEFAULT_TIMING,
    },
    {
      stack,
      nic,
      mirrorStore: new MemoryMirrorStore(),
      checkpoints: new MemoryCheckpointStore(storage),
      authenticator: TRUSTING,
    },
  )
  return { node, stack, sent: [], asked: [] }
}

function collect({ node, sent, asked }: Party): void {
  for (let a = node.pollAction(); a !== null; a = node.pollAction()) {
    if (a.kind === 'send') sent.push(a.bytes)
    else asked.push(a)
  }
}

function carry(from: Party, to: Party, now: number): void {
  collect(from)
  for (const bytes of from.sent.splice(0)) to.node.handleDeclaration(bytes, now)
}

/** Two nodes of which the first owns the binding, and the time. */
function pair(): { a: Party; b: Party; now: number } {
  const storage = new MemoryCheckpointStorage()
  const a = party(1, storage)
  const b = party(2, storage)
  let now = 1000
  a.node.start(now)
  b.node.start(now)
  for (; now < 2000; now += STEP) {
    carry(a, b, now)
    carry(b, a, now)
    a.node.handleHeartbeat(2, now, now)
    b.node.handleHeartbeat(1, now, now)
    a.node.handleTimeout(now)
    b.node.handleTimeout(now)
  }
  carry(a, b, now)
  carry(b, a, now)
  a.asked.length = 0
  b.asked.length = 0
  return { a, b, now }
}

/** The second hears nothing until it asks for a fence; the first lives on. */
function untilFence(a: Party, b: Party, from: number): number {
  let now = from
  for (; !b.asked.some((x) => x.kind === 'fence') && now < from + 1000; now += STEP) {
    a.node.handleHeartbeat(2, now, now)
    a.node.handleTimeout(now)
    collect(a)
    b.node.handleTimeout(now)
    collect(b)
  }
  return now
}

t.test('P7: the smaller id owns, the other stands by', (t) => {
  const { a, b } = pair()
  t.equal(a.node.state, 'owner')
  t.equal(b.node.state, 'standby')
  t.equal(b.node.owner, 1)
  t.end()
})

t.test(
  'D3: a fence that is on its way is gone through with, although the owner is heard again',
  (t) => {
    const { a, b, now } = pair()
    const later = untilFence(a, b, now)
    t.equal(b.node.state, 'claiming')
    a.node.handleTimeout(later + 300)
    carry(a, b, later + 300)
    t.equal(
      b.node.state,
      'claiming',
      'its port may be shut already: nobody else would take its place',
    )
    b.node.handleFenced(1, true, later + 301)
    t.equal(b.node.state, 'owner')
    carry(b, a, later + 302)
    t.equal(a.node.state, 'standby', 'and the first steps down')
    t.equal(a.node.owner, 2)
    collect(a)
    t.ok(
      a.asked.some((x) => x.kind === 'unfence'),
      'it opens its port again',
    )
    t.end()
  },
)

t.test('D3: the checkpoints of an owner that was outbid and did not know are refused', (t) => {
  const storage = new MemoryCheckpointStorage()
  const old = new MemoryCheckpointStore(storage)
  const successor = new MemoryCheckpointStore(storage)
  const key = {
    binding: 1,
    localAddress: 1,
    localPort: 80,
    remoteAddress: 2,
    remotePort: 1000,
  } as never
  const checkpoint = (input: number) => ({
    input,
    output: 0,
    unsent: new Uint8Array(0),
    state: null,
    iss: 1,
    irs: 2,
  })
  old.claim(1, 1)
  old.put(key, checkpoint(10))
  old.flush()
  successor.claim(1, 2)
  successor.put(key, checkpoint(20))
  successor.flush()
  old.put(key, checkpoint(15))
  old.flush()
  t.equal(old.refused, 1)
  t.equal(successor.get(key)?.input, 20)
  t.throws(() => old.transaction(() => 1), { code: 'ERR_NOT_OWNER' })
  t.end()
})
