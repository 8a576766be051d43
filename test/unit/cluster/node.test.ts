/**
 * ClusterNode's decisions where messages cross: two nodes whose declarations are carried by hand.
 */
import t from 'tap'
import {
  type FailoverPolicy,
  type PermanencySet,
  parseBinding,
  smallestId,
} from '../../../cluster/index.js'
import { handlePortOpened } from '../../../cluster/link-gap.js'
import { MemoryCheckpointStorage, MemoryCheckpointStore } from '../../../cluster/memory-store.js'
import { DropReason } from '../../../stack/index.js'
import { PEER, PEER_PORT, sayingTo } from './overhearing.js'
import { attend, ONE, type Party, party } from './party.js'

const STEP = 10

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
function pair(sets = ONE): { a: Party; b: Party; now: number } {
  const storage = new MemoryCheckpointStorage()
  const a = party(1, storage, sets)
  const b = party(2, storage, sets)
  let now = 1000
  a.node.start(now)
  b.node.start(now)
  for (; now < 2000; now += STEP) {
    carry(a, b, now)
    carry(b, a, now)
    a.node.handleHeartbeat(2, now, now)
    b.node.handleHeartbeat(1, now, now)
    attend(a.node, now)
    attend(b.node, now)
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
    attend(a.node, now)
    collect(a)
    attend(b.node, now)
    collect(b)
  }
  return now
}

t.test('P7: the smaller id owns, the other stands by', (t) => {
  const { a, b } = pair()
  t.equal(a.own.state, 'owner')
  t.equal(b.own.state, 'standby')
  t.equal(b.own.owner, 1)
  t.end()
})

t.test(
  'D3: a fence that is on its way is gone through with, although the owner is heard again',
  (t) => {
    const { a, b, now } = pair()
    const later = untilFence(a, b, now)
    t.equal(b.own.state, 'claiming')
    attend(a.node, later + 300)
    carry(a, b, later + 300)
    t.equal(
      b.own.state,
      'claiming',
      'its port may be shut already: nobody else would take its place',
    )
    b.node.handleFenced(1, true, later + 301)
    attend(b.node, later + 301)
    t.equal(b.own.state, 'owner')
    carry(b, a, later + 302)
    t.equal(a.own.state, 'standby', 'and the first steps down')
    t.equal(a.own.owner, 2)
    collect(a)
    t.ok(
      a.asked.some((x) => x.kind === 'unfence'),
      'it opens its port again',
    )
    t.end()
  },
)

t.test('D3: without a fence that stands nobody claims while the owner is heard', (t) => {
  const { a, b, now } = pair()
  let later = untilFence(a, b, now)
  // It beats on from now on.
  b.node.handleHeartbeat(1, later, later)
  b.node.handleFenced(1, false, later)
  for (const end = later + 500; later < end; later += STEP) {
    b.node.handleHeartbeat(1, later, later)
    attend(b.node, later)
    t.not(b.own.state, 'owner')
  }
  for (const end = later + 500; later < end; later += STEP) attend(b.node, later)
  t.equal(b.own.state, 'claiming', 'it was silent again, and a fence is asked for')
  b.node.handleFenced(1, false, later)
  attend(b.node, later)
  t.equal(b.own.state, 'owner', 'its lease is over')
  t.end()
})

/** The owner of a pair dies and starts again at once, and declares itself to the other. */
function restarted(from: number, to: Party): Party {
  const again = party(1, new MemoryCheckpointStorage(), ONE, undefined, 2000)
  again.node.start(from)
  carry(again, to, from)
  return again
}

t.test(
  'D3: an owner that starts again has ended: its successor waits for no fence and no lease',
  (t) => {
    const { b, now } = pair()
    const again = restarted(now, b)
    t.match(b.own, { state: 'standby', owner: 1 })
    attend(b.node, now)
    t.equal(b.own.state, 'claiming', 'although its channel was not seen to end, and it shows life')
    for (let at = now; at <= now + 20; at += STEP) attend(b.node, at)
    t.match(b.own, { state: 'owner', epoch: 2 })
    collect(b)
    t.notOk(
      b.asked.some((x) => x.kind === 'fence'),
      'which would strike the new life',
    )
    t.same(b.node.peers.upWith(2), [1, 2], 'nor is that one taken for dead')
    carry(b, again, now + 20)
    t.match(again.own, { state: 'standby', owner: 2 })
    t.end()
  },
)

t.test('D3: the same while the fence is not answered, or could not be confirmed', (t) => {
  for (const answered of [false, true]) {
    const { a, b, now } = pair()
    const later = untilFence(a, b, now)
    b.node.handleHeartbeat(1, later, later)
    if (answered) b.node.handleFenced(1, false, later)
    restarted(later, b)
    for (let at = later; at <= later + 20; at += STEP) {
      b.node.handleHeartbeat(1, at, at)
      attend(b.node, at)
    }
    t.equal(b.own.state, 'owner')
  }
  t.end()
})

t.test('D3: who knows the owner from others only does not take its life for another', (t) => {
  const { a, now } = pair()
  const c = party(3, new MemoryCheckpointStorage())
  c.node.start(now)
  a.own.answer = true
  attend(a.node, now)
  carry(a, c, now)
  t.equal(c.own.owner, 1)
  // Another has it that the node owns in a later term; then what that node said when it started again comes.
  const d = party(2, new MemoryCheckpointStorage())
  d.node.world.mirrorStore.putEpochSync(1, 4)
  d.node.start(now)
  const again = party(1, new MemoryCheckpointStorage(), ONE, undefined, 2000)
  again.node.world.mirrorStore.putEpochSync(1, 4)
  let at = now
  for (again.node.start(at); again.own.state !== 'owner'; at += STEP) attend(again.node, at)
  collect(again)
  // What it said when it started.
  const present = again.sent[0] as Uint8Array
  carry(again, d, at)
  d.own.answer = true
  attend(d.node, at)
  carry(d, c, at)
  t.match(c.own, { state: 'standby', owner: 1, epoch: 5 })
  c.node.handleDeclaration(present, at)
  for (const end = at + 1000; at < end; at += STEP) {
    c.node.handleHeartbeat(1, at, at)
    attend(c.node, at)
    t.match(c.own, { state: 'standby', owner: 1 })
  }
  t.end()
})

t.test(
  'D3: who waits for its turn behind a port that was shut meanwhile listens anew before it claims',
  (t) => {
    const storage = new MemoryCheckpointStorage()
    const a = party(1, storage)
    const b = party(2, storage)
    let now = 1000
    a.node.start(now)
    b.node.start(now)
    carry(a, b, now)
    const opened = (): boolean => b.asked.splice(0).some((x) => x.kind === 'unfence')
    // The first is there, and says no more.
    const turn = (): boolean => {
      now += STEP
      b.node.handleHeartbeat(1, now, now)
      b.node.handleTimeout(now)
      collect(b)
      return opened()
    }
    while (!turn() && now < 3000);
    const listenedAt = now
    t.ok(now < 1400, 'it has listened')
    while (!turn() && now < 3000);
    t.ok(now >= listenedAt + 400, 'the first has had its turn')
    t.equal(b.own.state, 'standby')
    const since = now
    handlePortOpened(b.node, now)
    while (b.own.state === 'standby' && now < 3000) turn()
    t.ok(now >= since + 300 && now < since + 400, `${now - since} ms later`)
    t.end()
  },
)

t.test('D3: two that claimed in one term, and followed each other, do not wait for ever', (t) => {
  const { a, b, now } = pair()
  let later = untilFence(a, b, now)
  b.node.handleFenced(1, true, later)
  attend(b.node, later)
  t.match(b.own, { state: 'owner', epoch: 2 })
  collect(b)
  const claim = b.sent.splice(0)
  // It is stopped; the first, which has not heard of it, starts again and comes to the same term.
  b.node.handleLeaseLost(later)
  const again = party(1, new MemoryCheckpointStorage(), ONE, undefined, 2000)
  again.node.world.mirrorStore.putEpochSync(1, 1)
  again.node.start(later)
  for (; again.own.state !== 'owner'; later += STEP) attend(again.node, later)
  t.equal(again.own.epoch, 2)
  collect(again)
  for (const bytes of claim) again.node.handleDeclaration(bytes, later)
  for (const bytes of again.sent.splice(0)) b.node.handleDeclaration(bytes, later)
  t.match(again.own, { state: 'standby', owner: 2 })
  t.match(b.own, { state: 'standby', owner: 1 })
  for (const end = later + 2000; later < end; later += STEP) {
    again.node.handleHeartbeat(2, later, later)
    b.node.handleHeartbeat(1, later, later)
    attend(again.node, later)
    attend(b.node, later)
    carry(again, b, later)
    carry(b, again, later)
  }
  t.same([again.own.state, b.own.state].sort(), ['owner', 'standby'])
  t.equal(again.own.owner, b.own.owner)
  t.end()
})

t.test(
  'P13: an owner whose clients still send to another Ethernet address announces its own again',
  (t) => {
    const { a, b, now } = pair()
    const { address } = a.own.binding
    const announced: number[] = []
    Object.assign(a.nic, { announce: (which: number) => announced.push(which) })
    attend(a.node, now + 300)
    t.equal(a.node.serves(address, 80, PEER, PEER_PORT, a.nic.mac), true)
    attend(a.node, now + 600)
    t.same(announced, [], 'not for nothing')
    t.equal(a.node.serves(address, 80, PEER, PEER_PORT, b.nic.mac), false, 'and is not refused')
    attend(a.node, now + 900)
    t.same(announced, [address])
    attend(a.node, now + 1200)
    t.same(announced, [address], 'once')
    t.end()
  },
)

t.test(
  'P27 D5: who wakes behind a shut port, and finds another owner, goes on from nothing that it knew',
  (t) => {
    const { a, b, now } = pair()
    const later = untilFence(a, b, now)
    a.node.handleLeaseLost(later + 300)
    t.equal(a.own.state, 'fenced')
    sayingTo(a.own.snooper).open(later + 300)
    const shadow = a.own.snooper.table.find(80, PEER, PEER_PORT)
    t.equal(shadow?.verdict, 'ready')
    b.node.handleFenced(1, true, later + 301)
    attend(b.node, later + 301)
    carry(b, a, later + 302)
    t.match(a.own, { state: 'standby', owner: 2 })
    t.equal(shadow?.verdict, 'ready', 'where the port was open nothing was missed')
    handlePortOpened(a.node, now)
    t.match(shadow, { verdict: 'untracked', distrusted: true })
    t.equal(a.own.complete, false, 'and asks for all')
    t.end()
  },
)

const greatestId: FailoverPolicy = (_binding, up) => Math.max(...up)
const TWO: readonly PermanencySet[] = [
  { binding: parseBinding(1, '10.0.0.100/24'), policy: smallestId },
  { binding: parseBinding(2, '10.0.0.101/24', '80'), policy: greatestId },
]

t.test('P2: one node owns one binding and stands by for another', (t) => {
  const { a, b } = pair(TWO)
  t.same(
    [a, b].map(({ node }) => node.ownerships.map(({ state }) => state)),
    [
      ['owner', 'standby'],
      ['standby', 'owner'],
    ],
  )
  t.equal(a.node.ownershipAt(TWO[1]?.binding.address ?? 0, 81), undefined)
  t.end()
})

t.test('D3: a node that is outclaimed in one binding falls silent in all', (t) => {
  const { a, b, now } = pair([ONE[0] as PermanencySet, { ...TWO[1], policy: smallestId } as never])
  const later = untilFence(a, b, now)
  b.sent.length = 0
  b.node.handleFenced(1, true, later)
  attend(b.node, later)
  t.ok(b.node.ownerships.every(({ state }) => state === 'owner'))
  collect(b)
  const claims = b.sent.splice(0)
  a.node.handleDeclaration(claims[0] as Uint8Array, later)
  collect(a)
  const opened = a.asked.findIndex((x) => x.kind === 'unfence')
  const fallen = a.asked.filter((x) => x.kind === 'report').map((x) => x.report.event)
  t.ok(opened > 0)
  t.ok(!a.node.owns, 'before its port is open again it owns nothing')
  t.same(fallen, ['standby', 'fenced'])
  t.end()
})

t.test('P2: another meaning of a binding is told, and not mixed up with ours', (t) => {
  const storage = new MemoryCheckpointStorage()
  const a = party(1, storage)
  const b = party(2, storage, [{ binding: parseBinding(1, '10.0.0.101/24'), policy: smallestId }])
  a.node.start(1000)
  b.node.start(1000)
  carry(a, b, 1000)
  collect(b)
  t.ok(b.asked.some((x) => x.kind === 'report' && x.report.event === 'binding-mismatch'))
  t.end()
})

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

// What the node says on the link itself, as its peers get it.
function linkMessages(from: Party, now: number): Uint8Array[] {
  const messages: Uint8Array[] = []
  for (let f = from.nic.poll(now); f !== null; f = from.nic.poll(now)) {
    const bytes = f.bytes.slice(f.start, f.end)
    if (bytes[12] === 0x88 && bytes[13] === 0xb5) messages.push(bytes.subarray(14))
  }
  return messages
}

function reportsOf(party: Party): string[] {
  collect(party)
  return party.asked.splice(0).flatMap((x) => (x.kind === 'report' ? [x.report.event] : []))
}

t.test('P24: a binding is handed to another node at once, and back again', (t) => {
  const { a, b, now } = pair()
  linkMessages(a, now)
  linkMessages(b, now)
  t.equal(a.node.switchover(2, now), 1)
  t.equal(a.own.state, 'standby', 'the giver is silent before its word leaves')
  t.same(reportsOf(a), ['handover'])
  t.equal(a.sent.length, 0, 'no other way may bring it before the last frames of the link')
  for (const bytes of linkMessages(a, now)) b.node.handleDeclaration(bytes, now)
  attend(b.node, now)
  t.match(b.own, { state: 'owner', epoch: 2 })
  carry(b, a, now)
  t.match(a.own, { state: 'standby', owner: 2, epoch: 2 })

  t.equal(b.node.switchover(null, now), 1, 'P7: to whom the policy names')
  for (const bytes of linkMessages(b, now)) a.node.handleDeclaration(bytes, now)
  attend(a.node, now)
  t.match(a.own, { state: 'owner', epoch: 3 })
  carry(a, b, now)
  t.match(b.own, { state: 'standby', owner: 1, epoch: 3 })
  t.end()
})

t.test(
  'P24: a binding with a connection that the peer never heard of stays with its owner',
  (t) => {
    const { a, b, now } = pair()
    linkMessages(a, now)
    linkMessages(b, now)
    // The giver counts one connection more than the taker knows.
    const { epoch } = a.own
    a.node.switchover(2, now)
    linkMessages(a, now)
    const { set } = a.own
    a.node.handOver({ set, epoch, takeStanding: () => a.own.takeStanding() } as never, 2, 1)
    for (const bytes of linkMessages(a, now)) b.node.handleDeclaration(bytes, now)
    attend(b.node, now)
    t.equal(b.own.state, 'standby')
    for (const bytes of linkMessages(b, now)) a.node.handleDeclaration(bytes, now)
    attend(a.node, now)
    t.match(a.own, { state: 'owner', epoch: 2 }, 'it goes on, in a new term')
    t.same(reportsOf(a), ['handover', 'handover-refused', 'owner'])
    t.end()
  },
)

t.test('P24, D3: a node that was stopped takes nothing that was handed to it meanwhile', (t) => {
  const { a, b, now } = pair()
  linkMessages(a, now)
  a.node.switchover(2, now)
  b.node.handleLeaseLost(now)
  for (const bytes of linkMessages(a, now)) b.node.handleDeclaration(bytes, now)
  attend(b.node, now)
  t.equal(b.own.state, 'standby')
  t.end()
})

t.test('P24: when the word of a transfer is lost its giver goes on', (t) => {
  const { a, b, now } = pair()
  a.node.switchover(2, now)
  linkMessages(a, now)
  let then = now
  for (; a.own.state !== 'owner' && then < now + 10_000; then += STEP) {
    carry(b, a, then)
    carry(a, b, then)
    b.node.handleHeartbeat(1, then, then)
    a.node.handleHeartbeat(2, then, then)
    attend(b.node, then)
    attend(a.node, then)
    if (b.own.state === 'owner') break
  }
  t.equal(a.own.state, 'owner')
  t.equal(b.own.state, 'standby')
  t.end()
})

t.test('P24: nobody to hand over to is an error with a remedy, and changes nothing', (t) => {
  const { a, now } = pair()
  t.throws(() => a.node.switchover(7, now), { code: 'ERR_NO_SUCCESSOR' })
  t.throws(() => a.node.switchover(1, now), { code: 'ERR_NO_SUCCESSOR' })
  t.equal(a.own.state, 'owner')
  t.end()
})

t.test(
  'P3, D3: a declaration that is played again, or is cut short, is counted and moves nothing',
  (t) => {
    const { a, b, now } = pair()
    linkMessages(a, now)
    a.node.switchover(2, now)
    const words = linkMessages(a, now)
    for (const bytes of words) b.node.handleDeclaration(bytes, now)
    attend(b.node, now)
    carry(b, a, now)
    b.node.switchover(1, now)
    for (const bytes of linkMessages(b, now)) a.node.handleDeclaration(bytes, now)
    attend(a.node, now)
    carry(a, b, now)
    const { drops } = b.stack
    const before = drops.get(DropReason.DECLARATION_REPLAYED)
    for (const bytes of words) b.node.handleDeclaration(bytes, now)
    b.node.handleDeclaration((words[0] as Uint8Array).subarray(0, 60), now)
    attend(b.node, now)
    t.equal(b.own.state, 'standby')
    t.equal(a.own.state, 'owner')
    t.equal(drops.get(DropReason.DECLARATION_REPLAYED), before + words.length)
    t.equal(drops.get(DropReason.DECLARATION_MALFORMED), 1)
    t.end()
  },
)
