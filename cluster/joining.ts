// hot path: no allocation per frame
/**
 * Joining: how a node that came up late gets to know the connections that began before (P27). It asks the owner for a snapshot, keeps
 * what is said meanwhile of connections that it does not know, and folds that behind the snapshot. What the snapshot has
 * already changes nothing when it is folded again, as a retransmission does not.
 *
 * Until it is through, the node lacks connections, and lets others go before it when the owner dies (P20).
 *
 * In the same way a node that has missed some of what was said on the link comes to know of what: a connection that it knows is brought up
 * to where the owner says that it is, by the folds that a retransmission goes through, and one that the owner does not name is over.
 */
import { type Millis, moveClock, NEVER, type Segment } from '../stack/index.js'
import { completes } from './mirror-reader.js'
import { catchUp, leadsTo } from './said-again.js'
import { copySegment, type Direction, Shadow } from './shadow.js'
import { nextRound, type SnapshotMessage } from './snapshot.js'
import type { Snooper } from './snooper.js'

/** Octets of segments that are kept at most; a connection for which there is no more room is asked for again. */
export const MAX_KEPT_OCTETS = 8 * 1024 * 1024
/** A request that was not answered in full by then is made again. */
export const ASK_AGAIN_MS: Millis = 500
/** The same where the answer left connections out. */
const LACKING_MS: Millis = 50
/** How long checkpoints are waited for that lie behind what a snapshot could not bring. */
const SETTLE_MS: Millis = 1000
const SETTLE_INTERVAL_MS: Millis = 10
/** Requests that are made again at most for connections of which the owner was heard only behind the last one. */
const MAX_LATE_ROUNDS = 3
// What a segment costs besides its text.
const SEGMENT_COST = 300

interface Kept {
  readonly seg: Segment
  readonly direction: Direction
  readonly peerMac: number
  readonly at: Millis
}

const NOTHING: readonly Kept[] = []

export class Joining {
  /** Every connection that the owner knew of is known here, too. */
  complete = false
  /** What is distrusted this node has served itself, until another claimed it. */
  outclaimed = false
  /** Of that what the owner does not know of. */
  forsaken: readonly Shadow[] = []
  /** Connections that snapshots have brought. */
  installed = 0
  /** The number of the last request. */
  round = 0
  readonly #snooper: Snooper
  #askAt: Millis = 0
  #asking = false
  // By the shadow that knows too little.
  readonly #kept = new Map<Shadow, Kept[]>()
  #octets = 0
  // All has been told; of these the application had read more than its last checkpoint says.
  #unsettled: Shadow[] = []
  #settleAt: Millis = NEVER
  #settleBy: Millis = NEVER
  // The connection that is being told of.
  #incoming: Shadow | null = null
  // What is known may be behind, or over.
  #doubting = false
  // Connections that the owner had spoken in when it was asked, and has not named since: known ones, while they are in doubt.
  readonly #unnamed = new Set<Shadow>()
  // The same of those whose beginning was missed.
  readonly #strangers = new Set<Shadow>()
  // Of this snapshot.
  #lateRounds = 0

  constructor(snooper: Snooper) {
    this.#snooper = snooper
  }

  /** When the owner is to be asked, if there is one. */
  get askAt(): Millis {
    return this.complete ? NEVER : this.#askAt
  }

  /** When `settle` has something to do. */
  get settleAt(): Millis {
    return this.#settleAt
  }

  /**
   * What was read before the snapshot and not yet checkpointed nobody here has, but in a mirror: the node is not through before
   * `consumedTo`, the application's last checkpoint, lies behind it, and what is being repaired is there. True: now it is, or there is no sense in waiting on.
   */
  // allocates: only while a snapshot is under way
  settle(consumedTo: (shadow: Shadow) => number, now: Millis): boolean {
    if (now < this.#settleAt) return false
    this.#unsettled = this.#unsettled.filter((shadow) => {
      if (shadow.closed) return false
      if (shadow.verdict === 'gap') return shadow.repair !== 'vain'
      return consumedTo(shadow) < shadow.buffers.received.start
    })
    this.#settleAt = now + SETTLE_INTERVAL_MS
    if (this.#unsettled.length > 0 && now < this.#settleBy) return false
    if (this.#lateRounds < MAX_LATE_ROUNDS && this.#hasLateStranger()) {
      this.#lateRounds++
      this.#askAt = now + LACKING_MS
      this.#settleAt = NEVER
      return false
    }
    // Each of them would keep this node from its turn for ever, as nobody else will say that it is over. One that lives is met again by its
    // next segment.
    for (const shadow of this.#strangers) {
      if (shadow.verdict === 'untracked') this.#snooper.forgetUnnamed(shadow)
    }
    const ended = this.#snooper.forgetDistrusted()
    this.forsaken = this.outclaimed ? ended : []
    for (const shadow of this.#unnamed) this.#snooper.forgetUnnamed(shadow)
    this.end()
    return true
  }

  // The owner may have let go of it between our request and its answer, or not: it is asked once more.
  // allocates: only while a snapshot is under way
  #hasLateStranger(): boolean {
    for (const shadow of this.#snooper.table.shadows()) {
      if (isStranger(shadow) && !this.#strangers.has(shadow)) return true
    }
    return false
  }

  /** A request leaves now, for all. */
  asked(now: Millis): void {
    this.#asking = true
    this.round = nextRound(this.round)
    this.#askAt = now + ASK_AGAIN_MS
    this.#settleAt = NEVER
    this.#incoming = null
    this.#forgetKept()
    this.#unnamed.clear()
    this.#strangers.clear()
    for (const shadow of this.#snooper.table.shadows()) {
      if (isStranger(shadow)) this.#strangers.add(shadow)
      else if (this.#doubting && shadow.verdict !== 'untracked' && shadow.tcb.synSent) {
        this.#unnamed.add(shadow)
      }
    }
  }

  /** There is nothing to ask for: this node owns the binding, and whatever it lacks is lost. */
  end(): void {
    this.complete = true
    this.#asking = false
    this.#doubting = false
    this.outclaimed = false
    this.#unnamed.clear()
    this.#strangers.clear()
    this.#lateRounds = 0
    // allocates: once per snapshot
    this.#unsettled = []
    this.#settleAt = NEVER
    this.#incoming = null
    this.#forgetKept()
  }

  /** All is to be asked for, from the start. */
  begin(): void {
    this.end()
    this.complete = false
    this.installed = 0
    this.restart()
  }

  /** Some of what was said on the link has been missed, and `restart` will tell when it is heard again: then all is to be asked for. */
  doubt(): void {
    const { outclaimed } = this
    this.begin()
    this.outclaimed = outclaimed
    this.#doubting = true
    this.#askAt = NEVER
  }

  /** Another owner, which is to be asked at once. */
  restart(): void {
    this.#askAt = 0
    this.#settleAt = NEVER
    this.#incoming = null
  }

  #forgetKept(): void {
    this.#kept.clear()
    this.#octets = 0
  }

  /** Takes note of a segment of a connection that is not known here. `seg` is borrowed. */
  // allocates: only while a snapshot is under way
  keep(shadow: Shadow, seg: Segment, direction: Direction, peerMac: number, now: Millis): void {
    if (!this.#asking || this.#octets > MAX_KEPT_OCTETS) return
    let kept = this.#kept.get(shadow)
    if (kept === undefined) {
      // allocates: once per connection that is not known
      kept = []
      this.#kept.set(shadow, kept)
    }
    this.#octets += SEGMENT_COST + seg.textLength
    kept.push({ seg: copySegment(seg), direction, peerMac, at: now })
  }

  /** Takes a message of the owner's. True: it is to be asked for the next page. */
  // allocates: only while a snapshot is under way
  handle(message: SnapshotMessage, now: Millis): boolean {
    if (!this.#asking || message.round !== this.round) return false
    switch (message.kind) {
      case 'flow': {
        const { key, record, received, sent, opener } = message
        // The owner's clock may be another one.
        moveClock(record.tcb, now - record.stamp)
        const shadow = Shadow.from(key, record.tcb, received, sent)
        shadow.opener = opener
        this.#incoming = shadow
        return false
      }
      case 'text': {
        const { side, offset, bytes } = message
        this.#incoming?.buffers[side].put(offset, bytes, 0, bytes.length)
        return false
      }
      case 'install':
        this.#install(now)
        return false
      case 'page':
        this.#askAt = now + ASK_AGAIN_MS
        if (message.more) return true
        // Too much text was under way, there or here: a moment later there may be less.
        if (message.lacks || this.#octets > MAX_KEPT_OCTETS) this.#askAt = now + LACKING_MS
        else {
          this.#askAt = NEVER
          this.#settleAt = now
          this.#settleBy = now + SETTLE_MS
        }
        return false
      default:
        return false
    }
  }

  #install(now: Millis): void {
    const shadow = this.#incoming
    this.#incoming = null
    // What came later than its end was not kept: the snapshot would be taken for more than it is.
    if (shadow === null || this.#octets > MAX_KEPT_OCTETS) return
    const { key } = shadow
    const { table } = this.#snooper
    const known = table.find(key.localPort, key.remoteAddress, key.remotePort)
    if (known !== undefined && known.verdict !== 'untracked') {
      if (this.#unnamed.delete(known)) this.#catchUp(known, shadow, now)
      return
    }
    if (known === undefined) {
      // It has ended since, and that was heard here.
      if (table.ended.has(key.localPort, key.remoteAddress, key.remotePort, now)) return
      if (table.full) return
    }
    const kept = known === undefined ? undefined : this.#kept.get(known)
    if (known !== undefined) this.#kept.delete(known)
    const { pairs } = this.#snooper
    const proxied = pairs.isProxied(key) || pairs.isServerSide(key)
    const base = known !== undefined && !proxied && completes(known, shadow) ? known : shadow
    // Else it is not in the table yet, and nobody's business.
    if (base === known) this.#complete(known, shadow, now)
    for (const { seg, direction, peerMac, at } of kept ?? NOTHING) {
      this.#octets -= SEGMENT_COST + seg.textLength
      base.observe(seg, direction, at)
      if (peerMac !== 0) base.peerMac = peerMac
    }
    if (base === known) {
      this.#snooper.repair?.note(known, now)
      this.#snooper.touch(known)
      this.#unsettled.push(known)
      return
    }
    this.installed++
    if (shadow.buffers.received.start > 0) this.#unsettled.push(shadow)
    this.#snooper.install(shadow, known, now)
  }

  // What another run mirrored has more than the owner could tell, and is brought up to what it tells.
  #complete(known: Shadow, told: Shadow, now: Millis): void {
    known.trust()
    known.opener = told.opener
    known.openedAt = told.openedAt
    this.#catchUp(known, told, now)
    const { sent } = told.buffers
    const length = sent.contiguousEnd - sent.start
    // What the client has not acknowledged is in the snapshot, and need not be asked for.
    if (known.buffers.sent.contiguousEnd < sent.start) known.buffers.sent.trim(sent.start)
    if (length <= 0) return
    const text = new Uint8Array(length)
    sent.copyTo(sent.start, length, text, 0)
    known.buffers.sent.put(sent.start, text, 0, length)
  }

  // What `told` has beyond `known` is folded there as what is said once more.
  #catchUp(known: Shadow, told: Shadow, now: Millis): void {
    const { localPort, remoteAddress, remotePort } = known.key
    // Another one between the same endpoints, or a long way on.
    if (!leadsTo(known, told)) {
      this.#snooper.remove(known)
      this.#snooper.install(told, undefined, now)
      this.#snooper.pairs.succeed(known, told)
      return
    }
    this.installed++
    // allocates: once per connection that was in doubt
    catchUp(known, told, now, (direction, seg) => {
      // The octets are what counts: that they come late is no sign of age (RFC 7323 §5.3).
      if (direction === 'inbound' && known.tcb.tsOk) seg.tsVal = known.tcb.tsRecent
      this.#snooper.observe(seg, direction, localPort, remoteAddress, remotePort, 0, now)
    })
  }
}

/** The owner was heard in it, and its beginning was not; what was merely missed for a while is another matter. */
function isStranger(shadow: Shadow): boolean {
  return shadow.verdict === 'untracked' && shadow.ownerSpoke && !shadow.distrusted
}
