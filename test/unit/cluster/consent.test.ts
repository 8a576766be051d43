/** Consent (D3): who consents to whom, for how long, and to which terms. */
import t from 'tap'
import { Consent } from '../../../cluster/consent.js'
import { DeclarationKind } from '../../../cluster/declaration.js'
import { FailureDetector } from '../../../cluster/failure-detector.js'
import { DEFAULT_TIMING, parseBinding, smallestId } from '../../../cluster/index.js'
import { MemoryCheckpointStore, MemoryMirrorStore } from '../../../cluster/memory-store.js'
import { Quorum } from '../../../cluster/quorum.js'
import { Suspicion } from '../../../cluster/suspicion.js'
import { Term } from '../../../cluster/term.js'

const { leaseMs, renewMs } = DEFAULT_TIMING
const BINDS_MS = 2 * leaseMs + renewMs + 10
const SET = { binding: parseBinding(1, '10.0.0.100/24'), policy: smallestId, quorum: 3 }
const MEMBERS = [1, 2, 3, 4, 5]

interface Said {
  readonly kind: number
  readonly node: number
  readonly epoch: number
  readonly owner: number
  readonly connections: number
}

class Voter {
  readonly own = { owner: 9, epoch: 4, owned: false, answer: false }
  readonly said: Said[] = []
  readonly mirror: MemoryMirrorStore
  readonly term: Term
  readonly consent: Consent

  constructor(id: number, mirror = new MemoryMirrorStore()) {
    const { own, said } = this
    const detector = new FailureDetector(DEFAULT_TIMING)
    const quorum = new Quorum(id, { ...SET, members: MEMBERS }, detector, leaseMs)
    this.mirror = mirror
    this.term = new Term(1, mirror, new MemoryCheckpointStore())
    this.term.restore()
    this.term.follow(4)
    const context = {
      options: { id, timing: DEFAULT_TIMING },
      declare: (kind: number, _: boolean, __: unknown, what: Partial<Said>) =>
        said.push({ node: id, epoch: own.epoch, owner: own.owner, connections: 0, ...what, kind }),
    }
    const suspicion = new Suspicion(detector, DEFAULT_TIMING, true)
    this.consent = new Consent(own as never, context as never, quorum, suspicion, this.term)
  }

  /** Hears `d`; returns what it says to that. */
  hears(d: Said | undefined, now: number): Said | undefined {
    this.said.length = 0
    if (d !== undefined) this.consent.handle(d as never, now)
    return this.said[0]
  }

  asks(now: number): Said | undefined {
    this.said.length = 0
    this.consent.holds(now)
    return this.said[0]
  }
}

t.test('D3: more than half consent to a term before it is used, and have it for good', (t) => {
  const [one, two, three] = [new Voter(1), new Voter(2), new Voter(3)]
  const ask = one.asks(1000)
  t.match(ask, { kind: DeclarationKind.ASK, epoch: 4, connections: one.term.next - 4 })
  const next = one.term.next
  const first = two.hears(ask, 1001)
  t.match(first, { kind: DeclarationKind.CONSENT, owner: 1, epoch: next })
  one.hears(first, 1002)
  t.equal(one.consent.holds(1002), false, 'two of five')
  one.hears(first, 1002)
  t.equal(one.consent.holds(1002), false, 'one that says it twice is one')
  one.hears(three.hears(ask, 1003), 1004)
  t.equal(one.consent.holds(1004), true)
  t.equal(one.term.next, next)
  t.ok(new Voter(2, two.mirror).term.next > next, 'nor does a later life use it')
  t.equal(one.consent.holds(1000 + leaseMs), false, 'it is good for a lease')
  t.ok(one.term.next > next, 'and then another is asked for')
  t.end()
})

t.test('D3: who has consented does so to nobody else before that is of no use any more', (t) => {
  const [one, two, three] = [new Voter(1), new Voter(2), new Voter(3)]
  t.match(three.hears(two.asks(1000), 1000), { owner: 2 })
  t.equal(three.hears(one.asks(1010), 1010), undefined)
  t.equal(three.asks(1010), undefined, 'nor does it ask itself')
  t.match(three.hears(two.asks(1020), 1020), { owner: 2 }, 'to the same one again')
  const later = 1020 + BINDS_MS
  t.equal(three.hears(one.asks(later - 1), later - 1), undefined)
  const four = new Voter(4)
  const known = three.hears(four.asks(later + 20), later + 20)
  t.match(known, { owner: 0 }, 'then it says which terms may have been used')
  four.hears(known, later + 20)
  t.match(three.hears(four.asks(later + 40), later + 40), { owner: 4 })
  three.consent.settle(4, four.term.next)
  t.match(three.asks(later + 50), { kind: DeclarationKind.ASK }, 'whose claim has been heard')
  t.end()
})

t.test('D3: a node that has started does not know to whom it had consented', (t) => {
  const [one, two] = [new Voter(1), new Voter(2)]
  two.consent.start(1000)
  t.equal(two.hears(one.asks(1100), 1100), undefined)
  t.equal(two.asks(1100), undefined)
  const later = 1000 + BINDS_MS
  t.match(two.hears(one.asks(later), later), { owner: 1 })
  t.end()
})

t.test('D3: of two that ask each other the smaller id goes on', (t) => {
  const [one, two] = [new Voter(1), new Voter(2)]
  const [first, second] = [one.asks(1000), two.asks(1000)]
  t.equal(one.hears(second, 1001), undefined)
  const answer = two.hears(first, 1001)
  const { kind, owner, epoch } = answer as Said
  t.same([kind, owner], [DeclarationKind.CONSENT, 1], 'the other withdraws')
  t.equal(epoch, one.term.next, 'and consents to the very term that it had asked for itself')
  two.hears({ ...(answer as Said), node: 3, owner: 2 }, 1002)
  two.hears({ ...(answer as Said), node: 4, owner: 2 }, 1002)
  t.equal(two.consent.holds(1002), false, 'and what comes in answer to it is for nothing')
  t.ok(two.term.next > epoch, 'it will not use it')
  t.end()
})

t.test('D3: who knows of a claim that the asker does not know of consents to nothing', (t) => {
  const [one, two] = [new Voter(1), new Voter(2)]
  two.own.epoch = 5
  two.own.owner = 3
  t.equal(two.hears(one.asks(1000), 1000), undefined)
  t.equal(two.own.answer, true, 'it says so')
  const stranger = { ...(one.asks(1030) as Said), node: 77 }
  two.own.epoch = 4
  t.equal(two.hears(stranger, 1030), undefined, 'nor to one that is not of the set')
  t.end()
})
