/**
 * Fail-over policies: pure functions of the living nodes and of what each has declared of itself; and how nodes come to agree on them.
 */
import t from 'tap'
import { clusterHash, decodeDeclaration } from '../../../cluster/declaration.js'
import { policyNamed, termsOf } from '../../../cluster/failover-policy.js'
import {
  DEFAULT_TIMING,
  election,
  type FailoverPolicy,
  master,
  namePolicy,
  orderedList,
  type PermanencySet,
  parseBinding,
  type Standing,
  smallestId,
  spread,
} from '../../../cluster/index.js'
import { MemoryCheckpointStorage } from '../../../cluster/memory-store.js'
import { attend, type Party, party, TRUSTING } from './party.js'

const STEP = 10
const BINDING = parseBinding(1, '10.0.0.100/24')
const EQUAL: Standing = { complete: true, lacking: 0, load: 0, designates: 0 }

function standings(list: Record<number, Partial<Standing>>): (node: number) => Standing {
  return (node) => ({ ...EQUAL, ...list[node] })
}

t.test('P7: the first of an ordered list that is up takes over, and the unnamed come last', (t) => {
  const policy = orderedList([3, 1])
  const of = standings({})
  t.equal(policy(BINDING, [1, 2, 3], of), 3)
  t.equal(policy(BINDING, [1, 2], of), 1)
  t.equal(policy(BINDING, [5, 2], of), 2)
  t.equal(policy(BINDING, [], of), null)
  t.end()
})

t.test('P7: an election goes by completeness, then by load, then by id', (t) => {
  const elect = (list: Record<number, Partial<Standing>>) =>
    election(BINDING, [1, 2, 3], standings(list))
  t.equal(elect({}), 1)
  t.equal(elect({ 1: { load: 5 }, 2: { load: 2 }, 3: { load: 2 } }), 2)
  t.equal(elect({ 1: { lacking: 1 }, 2: { lacking: 2 }, 3: { load: 9 } }), 3)
  t.equal(elect({ 1: { complete: false }, 2: { complete: false }, 3: { lacking: 3 } }), 3)
  t.equal(election(BINDING, [3, 2, 1], standings({})), 1, 'in whatever order they are named')
  t.end()
})

t.test('P7: the master decides by what it has declared, and the smallest id without it', (t) => {
  const policy = master(9)
  const of = standings({ 9: { designates: 3 } })
  t.equal(policy(BINDING, [1, 2, 3], of), 3)
  t.equal(policy(BINDING, [1, 2], of), 1, 'whom it named is gone')
  t.equal(policy(BINDING, [2, 3], standings({})), 2)
  t.end()
})

t.test('P26: bindings go to who serves least, and those of one owner to several peers', (t) => {
  t.equal(spread(BINDING, [1, 2], standings({ 1: { load: 100 }, 2: { load: 3 } })), 2)
  const taken = new Map<number, number>()
  for (let id = 1; id <= 30; id++) {
    const next = spread({ ...BINDING, id }, [1, 2, 3], standings({}))
    taken.set(next ?? 0, (taken.get(next ?? 0) ?? 0) + 1)
    t.equal(spread({ ...BINDING, id }, [3, 1, 2], standings({})), next)
  }
  t.same([...taken.keys()].sort(), [1, 2, 3])
  t.ok(Math.min(...taken.values()) >= 5, `about alike: ${[...taken.values()]}`)
  t.end()
})

t.test('P7: a policy of the user goes by its name', (t) => {
  const greatestId: FailoverPolicy = (_binding, up) => Math.max(...up)
  t.equal(namePolicy('greatest-id', greatestId), greatestId)
  t.equal(policyNamed('greatest-id'), greatestId)
  t.match(termsOf(greatestId), { number: 255, name: 'greatest-id' })
  const nameless: FailoverPolicy = () => 1
  t.match(
    termsOf(nameless),
    { number: 255, name: 'nameless' },
    'without one by that of the function',
  )
  t.end()
})

interface Group {
  readonly parties: Party[]
  now: number
}

// All hear each other's declarations and heartbeats until `until`.
function talk(group: Group, until: number, silent: readonly Party[] = []): void {
  const speaking = group.parties.filter((each) => !silent.includes(each))
  for (; group.now < until; group.now += STEP) {
    for (const each of speaking) {
      attend(each.node, group.now)
      take(each)
    }
    for (const from of speaking) {
      const words = from.sent.splice(0)
      for (const to of speaking) {
        if (to === from) continue
        for (const bytes of words) to.node.handleDeclaration(bytes, group.now)
        to.node.handleHeartbeat(from.node.options.id, group.now, group.now)
      }
    }
  }
}

function take({ node, sent, asked }: Party): void {
  for (let a = node.pollAction(); a !== null; a = node.pollAction()) {
    if (a.kind === 'send') sent.push(a.bytes)
    else asked.push(a)
  }
}

function group(sets: readonly (readonly PermanencySet[])[]): Group {
  const storage = new MemoryCheckpointStorage()
  const parties = sets.map((each, i) => party(i + 1, storage, each))
  for (const { node } of parties) node.start(1000)
  const made = { parties, now: 1000 }
  talk(made, 2000)
  return made
}

// The owner falls silent, and every fence is confirmed.
function kill(made: Group, dead: Party, rounds = 300): void {
  const living = made.parties.filter((each) => each !== dead)
  for (const each of living) each.node.handleChannel(dead.node.options.id, false, made.now)
  for (let i = 0; i < rounds; i++) {
    talk(made, made.now + STEP, [dead])
    for (const each of living) {
      if (!each.asked.some((x) => x.kind === 'fence')) continue
      each.asked.length = 0
      each.node.handleFenced(dead.node.options.id, true, made.now)
    }
  }
}

function setOf(policy: FailoverPolicy, members?: readonly number[]): readonly PermanencySet[] {
  return [{ binding: BINDING, policy, ...(members !== undefined && { members }) }]
}

const ownerOf = ({ parties }: Group): number[] =>
  parties.filter(({ own }) => own?.state === 'owner').map(({ node }) => node.options.id)

t.test('P7: the policy of the configuration is declared, and decides who takes over', (t) => {
  const made = group([1, 2, 3].map(() => setOf(orderedList([2, 3, 1]))))
  t.same(ownerOf(made), [2])
  const [a, b] = made.parties as [Party, Party]
  a.node.declare(1, false, a.own)
  take(a)
  const d = decodeDeclaration(a.sent.pop() as Uint8Array, clusterHash('test'), TRUSTING)
  t.match(d, { connectionPolicy: 2, policy: 'ordered 2,3,1', arpPolicy: 1, doubtfulData: 1 })
  kill(made, b)
  t.same(
    made.parties.filter((x) => x !== b).map(({ own }) => own.state),
    ['standby', 'owner'],
  )
  t.end()
})

t.test('P7: whom the master designated takes over when the owner dies', (t) => {
  const choice: FailoverPolicy = (_binding, up) => Math.max(...up)
  const made = group([1, 2, 3, 4].map(() => setOf(master(2, namePolicy('greatest', choice)))))
  const owner = made.parties.find(({ own }) => own.state === 'owner') as Party
  kill(made, owner)
  const living = made.parties.filter((each) => each !== owner)
  const expected = Math.max(...living.map(({ node }) => node.options.id))
  t.same(
    living.filter(({ own }) => own.state === 'owner').map(({ node }) => node.options.id),
    [expected],
  )
  t.end()
})

t.test('P7, P26: an election goes by what was declared, and all judge alike', (t) => {
  const made = group([1, 2, 3].map(() => setOf(election)))
  const [owner, second, third] = made.parties as [Party, Party, Party]
  t.equal(owner.own.state, 'owner')
  // The second serves clients of other bindings.
  Object.defineProperty(second.stack.tcp.demux, 'size', { value: 7 })
  talk(made, made.now + 500)
  kill(made, owner)
  t.same([second.own.state, third.own.state], ['standby', 'owner'])
  t.end()
})

t.test(
  'P7: while a successor is sought a node stands as it declared before, whatever changes',
  (t) => {
    const made = group([1, 2].map(() => setOf(election)))
    const [, peer] = made.parties as [Party, Party]
    peer.node.handleChannel(1, false, made.now)
    attend(peer.node, made.now)
    Object.defineProperty(peer.stack.tcp.demux, 'size', { value: 7 })
    t.match(peer.own.takeStanding(), { load: 0 })
    t.end()
  },
)

t.test('P7: nodes of different policies name the difference to each other, once', (t) => {
  const made = group([setOf(smallestId), setOf(orderedList([2, 1]))])
  for (const [i, each] of made.parties.entries()) {
    const told = each.asked.flatMap((x) => (x.kind === 'report' ? [x.report] : []))
    const names = ['smallest-id', 'ordered 2,1']
    t.match(
      told.filter(({ event }) => event === 'terms-mismatch'),
      [{ node: 2 - i, binding: 1, what: 'policy', ours: names[i], theirs: names[1 - i] }],
    )
  }
  t.end()
})

t.test('P2: a node outside of a set is in no line of it, and counts for nothing there', (t) => {
  const other: PermanencySet = { binding: parseBinding(2, '10.0.0.101/24'), policy: smallestId }
  // The first has another binding only.
  const made = group([[other], setOf(smallestId), setOf(smallestId)])
  const [outside, owner, peer] = made.parties as [Party, Party, Party]
  t.equal(outside.own.state, 'owner', 'of its own binding')
  t.equal(owner.own.state, 'owner', 'without waiting for a smaller id that does not serve it')
  t.equal(outside.node.ownershipAt(BINDING.address, 80), undefined)
  // Sooner than it would be its turn behind somebody else.
  kill(made, owner, DEFAULT_TIMING.patienceMs / STEP - 5)
  t.equal(peer.own.state, 'owner')
  t.end()
})

t.test('P2: who declares a binding of whose set it is not is named, and not in line', (t) => {
  const made = group([setOf(smallestId), setOf(smallestId, [2, 3]), setOf(smallestId, [2, 3])])
  const [, b] = made.parties as [Party, Party, Party]
  const told = b.asked.flatMap((x) => (x.kind === 'report' ? [x.report] : []))
  t.ok(told.some((x) => x.event === 'terms-mismatch' && x.what === 'set' && x.node === 1))
  t.equal(b.own.state, 'owner')
  t.end()
})
