/**
 * Nodes that do not agree on who is up (P4, D3): each would be the first in line behind the owner. Three nodes whose declarations are carried
 * by hand.
 */
import t from 'tap'
import { FailureDetector } from '../../../cluster/failure-detector.js'
import { DEFAULT_TIMING, type NodeReport } from '../../../cluster/index.js'
import { MemoryCheckpointStorage } from '../../../cluster/memory-store.js'
import { attend, ONE, type Party, party } from './party.js'

const STEP = 5
// How long a fence takes that is not confirmed, and one that is.
const FENCE = 2 * STEP

/** Three nodes of which the first owns the binding. */
class Three {
  now = 1000
  readonly parties: readonly Party[]
  readonly reports: { readonly by: number; readonly report: NodeReport; readonly at: number }[] = []
  /** Dead nodes, and pairs of nodes that hear nothing of each other. */
  readonly dead = new Set<number>()
  readonly apart = new Set<string>()
  /** Fences are confirmed. */
  fences = true
  readonly #due: { readonly at: number; readonly act: () => void }[] = []

  constructor() {
    const storage = new MemoryCheckpointStorage()
    this.parties = [1, 2, 3].map((id) => party(id, storage, ONE))
    for (const { node } of this.parties) node.start(this.now)
    this.run(20)
    for (const { node } of this.parties) {
      for (const id of [1, 2, 3]) if (id !== node.options.id) node.handleChannel(id, true, this.now)
    }
    this.run(1000)
  }

  own(id: number) {
    return (this.parties[id - 1] as Party).own
  }

  part(a: number, b: number): void {
    this.apart.add(`${a} ${b}`).add(`${b} ${a}`)
  }

  #hears(to: number, from: number): boolean {
    return to !== from && !this.dead.has(to) && !this.apart.has(`${from} ${to}`)
  }

  /** The process ends, and its channels with it. */
  kill(id: number): void {
    this.dead.add(id)
    for (const { node } of this.#living) node.handleChannel(id, false, this.now)
  }

  get #living(): Party[] {
    return this.parties.filter(({ node }) => !this.dead.has(node.options.id))
  }

  run(ms: number): void {
    for (const end = this.now + ms; this.now < end; this.now += STEP) {
      for (const { act } of this.#due.splice(0).filter((each) => this.#isDue(each))) act()
      for (const { node } of this.#living) {
        for (const other of this.#living) {
          const { id } = other.node.options
          if (this.#hears(node.options.id, id)) node.handleHeartbeat(id, this.now, this.now)
        }
        node.beginTurn(this.now)
        if (node.nextDeadline() <= this.now) attend(node, this.now)
      }
      for (const each of this.#living) this.#act(each)
    }
  }

  // What is not due yet stays.
  #isDue(each: { readonly at: number; readonly act: () => void }): boolean {
    if (each.at > this.now) this.#due.push(each)
    return each.at <= this.now
  }

  #act({ node }: Party): void {
    const { id } = node.options
    for (let a = node.pollAction(); a !== null; a = node.pollAction()) {
      if (a.kind === 'report') this.reports.push({ by: id, report: a.report, at: this.now })
      if (a.kind === 'send' || a.kind === 'tell') {
        const { bytes } = a
        for (const { node: to } of this.#living) {
          if (!this.#hears(to.options.id, id)) continue
          if (a.kind === 'tell' && a.node !== to.options.id) continue
          this.#due.push({ at: this.now, act: () => to.handleMessage(id, bytes, this.now) })
        }
      }
      if (a.kind === 'fence') {
        const target = a.node
        this.#due.push({
          at: this.now + FENCE,
          act: () => node.handleFenced(target, this.fences && this.dead.has(target), this.now),
        })
      }
    }
  }

  /** Who has reported `event` since `at`. */
  who(event: string, at = 0): number[] {
    return this.reports.filter((r) => r.report.event === event && r.at >= at).map(({ by }) => by)
  }
}

t.test('P4: two that were taken for dead by each other and did not notice are up again', (t) => {
  const three = new Three()
  t.equal(three.own(1).state, 'owner')
  t.ok(three.own(2).complete && three.own(3).complete)
  three.part(2, 3)
  three.run(200)
  t.same(three.who('peer-down').sort(), [2, 3], 'no beat for longer than silenceMs')
  t.same(three.own(2).succession.up, [1, 2])
  t.same(three.own(3).succession.up, [1, 3])
  three.apart.clear()
  three.run(50)
  t.same(three.own(2).succession.up, [1, 2, 3], 'without a boot, a stop or a claim')
  t.same(three.own(3).succession.up, [1, 2, 3])
  t.end()
})

t.test('P4: a dead node is asked nothing', (t) => {
  const three = new Three()
  three.kill(3)
  three.run(200)
  t.same(three.own(2).succession.up, [1, 2])
  const sent = three.parties.map(({ stack }) => [...frames(stack, three.now)].length)
  three.run(190)
  const more = three.parties.map(({ stack }) => [...frames(stack, three.now)].length)
  t.ok((sent[1] ?? 0) > 0, 'it has spoken before')
  t.equal(more[1], 0, 'and says nothing any more')
  t.end()
})

t.test('P8: a buried node is asked when its event loop has turned, and not all the time', (t) => {
  const detector = new FailureDetector(DEFAULT_TIMING)
  detector.watch(2, 1000)
  detector.heard(2, 1100)
  t.equal(detector.findsLife(1100), false, 'it is not buried')
  detector.bury(2, 2000)
  t.equal(detector.nextDeadline(), Number.POSITIVE_INFINITY)
  detector.heartbeat(2, 2500, 1900)
  t.equal(detector.findsLife(2500), false, 'its heartbeat goes on, and its event loop hangs')
  detector.grace(2600)
  t.equal(detector.findsLife(2600), false, 'nothing was heard: this node was stopped')
  detector.heartbeat(2, 2700, 2690)
  t.equal(detector.nextDeadline(), 0)
  t.equal(detector.findsLife(2700), true)
  t.equal(detector.nextDeadline(), Number.POSITIVE_INFINITY, 'nothing is due behind that')
  detector.heartbeat(2, 2790, 2790)
  t.equal(detector.findsLife(2790), false, 'it is given time to answer')
  detector.heartbeat(2, 2810, 2810)
  t.equal(detector.findsLife(2810), true)
  t.equal(detector.suspects(2, 9000), null, 'until it declares itself it counts as dead')
  t.end()
})

/** Two that took each other for dead hear each other again in the instant in which the owner dies. */
function rivals(fences: boolean): Three {
  const three = new Three()
  three.fences = fences
  three.part(2, 3)
  three.run(200)
  three.apart.clear()
  three.kill(1)
  return three
}

for (const fences of [true, false]) {
  t.test(`D3: of two that would claim at once one does, fence confirmed: ${fences}`, (t) => {
    const three = rivals(fences)
    const from = three.now
    three.run(fences ? 3 * STEP : 120)
    t.same(three.who('suspect', from).sort(), [2, 3], 'each is the first in its own line')
    t.same(three.who('owner', from), [2], 'no later than without the other')
    three.run(1000)
    t.same(three.who('owner', from), [2])
    t.match(three.own(3), { state: 'standby', owner: 2, epoch: three.own(2).epoch })
    t.end()
  })

  t.test(`D3: the other goes on when the first dies, fence confirmed: ${fences}`, (t) => {
    const three = rivals(fences)
    const from = three.now
    three.run(2 * STEP)
    t.same(three.who('owner', from), [], 'both are about to claim')
    three.kill(2)
    three.run(500)
    t.same(three.who('owner', from), [3], 'behind the patience that it has with any other')
    t.end()
  })
}

t.test('D3: one whose owner beats on goes first for as long as it says so', (t) => {
  const three = rivals(false)
  const from = three.now
  const [, second, third] = three.parties
  // Its channel has ended, and what is heard of it renews its lease for both alike.
  for (const end = from + 1500; three.now < end; ) {
    second?.node.handleHeartbeat(1, three.now, three.now)
    third?.node.handleHeartbeat(1, three.now, three.now)
    three.run(STEP)
  }
  t.same(three.who('owner', from), [], 'it may still speak')
  three.run(90)
  t.same(three.who('owner', from), [2])
  three.run(1000)
  t.same(three.who('owner', from), [2])
  t.end()
})

t.test('D3: who has not come to suspect the owner yet lets another go first that has', (t) => {
  const three = new Three()
  three.fences = false
  three.part(2, 3)
  three.run(200)
  three.apart.clear()
  // The third hears of the end of its channel only now.
  three.dead.add(1)
  three.parties[2]?.node.handleChannel(1, false, three.now)
  const from = three.now
  three.run(3 * STEP)
  three.parties[1]?.node.handleChannel(1, false, three.now)
  three.run(1000)
  t.same(three.who('owner', from), [3])
  t.end()
})

function* frames(stack: Party['stack'], now: number): Generator<number> {
  for (let f = stack.pollTransmit(now); f !== null; f = stack.pollTransmit(now)) yield f.end
}
