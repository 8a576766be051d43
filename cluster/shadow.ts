// hot path: no allocation per frame
/**
 * Shadow: the passive driver of one Tcb. It folds what it overhears by the very functions that the owner uses (P5, P15), keeps
 * the text that a successor needs, and knows at each instant whether it could take the connection over.
 *
 * While snooping it runs no timers but those of its table, sends nothing, gives nothing to an application, and keeps no
 * congestion state (P19).
 */
import {
  ACK,
  add,
  departedUnseen,
  diff,
  gt,
  lt,
  type MacAddress,
  type Millis,
  max,
  NEVER,
  newBuffers,
  openPassive,
  RST,
  Segment,
  type Seq,
  SYN,
  segmentArrives,
  segmentDeparts,
  Tcb,
  type TcbParts,
  TcpState,
  ZERO,
} from '../stack/index.js'
import type { FlowKey } from './flow-key.js'

/** As seen from the virtual address. */
export type Direction = 'inbound' | 'outbound'

/**
 * ready: can be promoted now. gap: octets that the owner acknowledged are missing here. untracked: the handshake was not seen, so
 * that options and offsets are unknown.
 */
export type Verdict = 'ready' | 'gap' | 'untracked'

/** Segments from the peer that wait for the owner's segment that they answer. */
export const MAX_HELD = 64
/** Octets by which text may lie beyond the window that was heard of: what lies further is nobody's. */
const MAX_OUTRUN = 4 * 1024 * 1024
/** How much later than a segment the window may be heard of that it fills. */
const OUTRUN_MS: Millis = 20
/** The same of one octet, with which a closed window is probed. */
const PROBE_OUTRUN_MS: Millis = 1
/** Octets of text kept in each direction at most. */
export const MAX_KEPT = 16 * 1024 * 1024

/** Nothing was told of a shadow: less than there can be to tell. */
export const UNTOLD = -16

// What is true of a shadow, or not.
const Mark = {
  DIRTY: 1,
  OPENER: 2,
  TELLING: 4,
  DISTRUSTED: 8,
  OWNER_SPOKE: 16,
  TRACKED: 32,
  // The owner has answered a SYN; when that SYN was never heard, its options and the start of the peer's stream are unknown.
  ANSWERED: 64,
  // Of an untracked connection: its last segment was a RST, and it is over if that was valid.
  RESET: 128,
  // It comes from the mirror of another run (P27).
  RESTORED: 256,
} as const

// A segment that waits.
interface Held {
  readonly seg: Segment
  /** Until when it waits for the window it fills; NEVER: for the data it acknowledges. */
  readonly until: Millis
}

const NO_PREFACE = new Uint8Array(0)

export class Shadow {
  readonly key: FlowKey
  readonly tcb: Tcb
  readonly buffers: TcbParts['buffers']
  /** The peer's next hop on the link, as last seen: whom to answer after a promotion. */
  peerMac: MacAddress = 0
  /** When the connection began to be overheard here; infinite when this node owned it before. */
  openedAt: Millis = Number.POSITIVE_INFINITY
  /** Stream offsets up to which text has been mirrored and dropped again: the mirror's own marks. */
  sentMirrored = 0
  receivedMirrored = 0
  sentDropped = 0
  receivedDropped = 0
  /** Where its input ended when its application was found to have committed all of that; -1: it was not. */
  restsAt = -1
  /** The other connection of a proxy's pair, once it has been heard of (A7). It stays when that one is closed: its text is ours. */
  partner: Shadow | null = null
  /** Octets before its partner's input, with which the output to a proxy's server begins (PROXY protocol). */
  preface: Uint8Array = NO_PREFACE
  /** Of a connection that a proxy has taken: the ISS of its partner; null before the handshake has been heard. */
  pairNumber: Seq | null = null
  /** Of an untracked connection: the peer's last SEG.ACK, for an exact reset. */
  peerAck: Seq = ZERO
  /** What the owner was told to be here of it, in strict mode (D2), as one number; or UNTOLD. */
  told = UNTOLD
  /** What it lacks has been asked for in vain, or is asked for now (D1). */
  repair: 'none' | 'pending' | 'vain' = 'none'
  // Bits of Mark: that there are many shadows is why each of these does not have a field of its own.
  #marks: number
  // Null while nothing is held, as a rule.
  #held: Held[] | null = null
  // The peer's SYN for a connection that takes this one's place, until the owner answers it (P16, P18).
  #newSyn: Segment | null = null

  /** `parts` come from a connection that was released here; without them the shadow starts with the handshake. */
  constructor(key: FlowKey, parts: TcbParts | null = null, tracked = true) {
    this.key = key
    this.tcb = parts?.tcb ?? new Tcb()
    this.buffers = parts?.buffers ?? newBuffers(MAX_KEPT, MAX_KEPT)
    this.buffers.received.limit = MAX_KEPT
    // What the application has read, and not committed, it is given again.
    this.buffers.received.regain()
    this.buffers.sent.limit = MAX_KEPT
    this.#marks = tracked ? Mark.TRACKED : 0
  }

  #is(mark: number): boolean {
    return (this.#marks & mark) !== 0
  }

  #mark(mark: number, on: boolean): void {
    this.#marks = on ? this.#marks | mark : this.#marks & ~mark
  }

  /** True while it waits to be mirrored. */
  get dirty(): boolean {
    return this.#is(Mark.DIRTY)
  }

  set dirty(on: boolean) {
    this.#mark(Mark.DIRTY, on)
  }

  /** The owner has opened this connection, not its peer. */
  get opener(): boolean {
    return this.#is(Mark.OPENER)
  }

  set opener(on: boolean) {
    this.#mark(Mark.OPENER, on)
  }

  /** In strict mode (D2): there is more than `told` to tell. */
  get telling(): boolean {
    return this.#is(Mark.TELLING)
  }

  set telling(on: boolean) {
    this.#mark(Mark.TELLING, on)
  }

  /** Its connection went on unheard for a while: it is untracked until a snapshot takes its place. */
  get distrusted(): boolean {
    return this.#is(Mark.DISTRUSTED)
  }

  /** It comes from what another run mirrored (P27): it is distrusted, and a snapshot may complete it instead of taking its place. */
  get restored(): boolean {
    return this.#is(Mark.RESTORED)
  }

  set restored(on: boolean) {
    this.#mark(Mark.RESTORED, on)
  }

  /** Of an untracked connection: the owner has said something in it. */
  get ownerSpoke(): boolean {
    return this.#is(Mark.OWNER_SPOKE)
  }

  /** A shadow that goes on from a snapshot, with text from these stream offsets on: it is for the caller to put there. */
  // allocates: once per connection of a snapshot
  static from(key: FlowKey, tcb: Tcb, received: number, sent: number): Shadow {
    const shadow = new Shadow(key, { tcb, buffers: newBuffers(MAX_KEPT, MAX_KEPT) })
    shadow.buffers.received.restart(received)
    shadow.buffers.sent.restart(sent)
    return shadow
  }

  get verdict(): Verdict {
    if (!this.#is(Mark.TRACKED)) return 'untracked'
    return gt(this.tcb.lastAckSent, this.tcb.rcvNxt) ? 'gap' : 'ready'
  }

  /** Octets that the owner acknowledged and that are missing here; 0 unless the verdict is `gap`. */
  get gapLength(): number {
    return this.#is(Mark.TRACKED) ? Math.max(diff(this.tcb.lastAckSent, this.tcb.rcvNxt), 0) : 0
  }

  /** SND.NXT for an exact reset of a connection that cannot be saved (S2). */
  get resetSeq(): Seq {
    return this.#is(Mark.TRACKED) ? this.tcb.sndNxt : this.peerAck
  }

  get closed(): boolean {
    if (!this.#is(Mark.TRACKED)) return this.#is(Mark.RESET)
    return this.tcb.state === TcpState.CLOSED && this.tcb.synSent
  }

  /** True when a segment, overheard now, opens a new connection between the same endpoints. */
  isReplacedBy(seg: Segment, direction: Direction): boolean {
    if (!seg.has(SYN)) return false
    if (!this.#is(Mark.TRACKED) || this.closed) return true
    // The owner opens another one: it knows that this one is over.
    if (direction === 'outbound' && !seg.has(ACK)) {
      return this.tcb.synSent && seg.seq !== this.tcb.iss
    }
    if (direction === 'inbound') {
      if (seg.has(ACK) || seg.seq === this.tcb.irs) return false
      // The owner decides: a SYN into a connection that it holds live is only challenged.
      const waits =
        this.tcb.state === TcpState.TIME_WAIT || this.tcb.state === TcpState.SYN_RECEIVED
      if (waits && gt(seg.seq, this.tcb.irs)) return true
      this.#newSyn = copySegment(seg)
      return false
    }
    return seg.has(ACK) && this.#newSyn !== null && seg.ack === add(this.#newSyn.seq, 1)
  }

  /** The SYN that the owner has just answered in place of this connection, or null. */
  takeNewSyn(): Segment | null {
    const syn = this.#newSyn
    this.#newSyn = null
    return syn
  }

  /** Folds one overheard segment. `seg` is borrowed. */
  observe(seg: Segment, direction: Direction, now: Millis): void {
    const { tcb, buffers } = this
    if (!this.#is(Mark.TRACKED)) {
      this.#noteUntracked(seg, direction)
      return
    }
    if (direction === 'outbound') {
      // The owner's SYN went by unheard, and with it the options and the start of the stream.
      if (!tcb.synSent && !seg.has(SYN) && !seg.has(RST)) {
        this.#loseTrack(seg, direction)
        return
      }
      // Whoever acknowledges has heard the peer's SYN.
      if (seg.has(ACK) && (seg.has(SYN) || tcb.state === TcpState.SYN_SENT))
        this.#mark(Mark.ANSWERED, true)
      segmentDeparts(tcb, buffers, seg, now)
      if (this.#held !== null) this.#replayHeld(this.#held, now)
      return
    }
    // The peer's answer to our SYN may outrun it, too.
    const opens = seg.has(SYN) && !seg.has(ACK)
    if (tcb.state === TcpState.CLOSED && !tcb.synSent && opens) openPassive(tcb)
    if (this.#outruns(seg)) {
      this.#hold(seg, NEVER)
      return
    }
    if (this.#outrunsWindow(seg)) {
      // One octet before a closed window is a probe, which the owner refuses, unless it has opened the window at that very moment.
      const probes = seg.len === 1 && tcb.rcvWnd === 0
      this.#hold(seg, now + (probes ? PROBE_OUTRUN_MS : OUTRUN_MS))
    }
    segmentArrives(tcb, buffers, seg, now)
  }

  /** Makes the connection ready to be promoted: what was held proves what the owner sent unseen. */
  // allocates: once per promotion
  settle(now: Millis): void {
    if (this.#is(Mark.ANSWERED) && this.tcb.state === TcpState.SYN_SENT) {
      this.#mark(Mark.TRACKED, false)
      this.peerAck = this.tcb.sndNxt
    }
    for (const { seg } of this.#held ?? []) {
      if (!this.#is(Mark.TRACKED) || !this.tcb.synSent) {
        // It acknowledges a SYN that nobody here has heard.
        this.#loseTrack(seg, 'inbound')
        continue
      }
      if (gt(seg.ack, this.tcb.sndNxt)) departedUnseen(this.tcb, seg.ack)
      segmentArrives(this.tcb, this.buffers, seg, now)
    }
    this.#held = null
  }

  /** What is known here is not to be gone on from: others may have said more since, unheard. */
  distrust(): void {
    if (this.#is(Mark.TRACKED)) this.peerAck = this.tcb.sndNxt
    this.#mark(Mark.TRACKED, false)
    this.#mark(Mark.OWNER_SPOKE | Mark.DISTRUSTED, true)
    this.#held = null
  }

  /** The owner has vouched for it, and says what it lacks. */
  trust(): void {
    this.#mark(Mark.RESTORED | Mark.DISTRUSTED | Mark.OWNER_SPOKE | Mark.RESET, false)
    this.#mark(Mark.TRACKED | Mark.ANSWERED, true)
  }

  /** Gives Tcb and buffers away, for a promotion. */
  // allocates: once per promotion
  release(): TcbParts {
    return { tcb: this.tcb, buffers: this.buffers }
  }

  // On its way here a segment may outrun the owner's data that it acknowledges, when the two come from different ports.
  #outruns(seg: Segment): boolean {
    if (!seg.has(ACK) || this.tcb.state === TcpState.LISTEN) return false
    return !this.tcb.synSent || lt(this.tcb.sndNxt, seg.ack)
  }

  // Or it may outrun the window that it fills. What the owner may have taken must not be cut off here.
  #outrunsWindow(seg: Segment): boolean {
    const { tcb } = this
    const beyond = diff(add(seg.seq, seg.len), tcb.rcvAdv)
    return seg.len > 0 && beyond > 0 && beyond <= MAX_OUTRUN && tcb.synSent
  }

  #hold(seg: Segment, until: Millis): void {
    // allocates: only for segments out of their order
    this.#held ??= []
    if (this.#held.length >= MAX_HELD) this.#held.shift()
    // allocates: likewise
    this.#held.push({ seg: copySegment(seg), until })
  }

  #replayHeld(held: Held[], now: Millis): void {
    for (let i = 0; i < held.length; ) {
      const { seg, until } = held[i] as Held
      const waits = until === NEVER ? this.#outruns(seg) : this.#outrunsWindow(seg)
      if (waits && now < until) {
        i++
        continue
      }
      held.splice(i, 1)
      // A window that opens much later is another one: what came before it was a probe, and the owner refused it.
      if (now < until) segmentArrives(this.tcb, this.buffers, seg, now)
    }
    if (held.length === 0) this.#held = null
  }

  #loseTrack(seg: Segment, direction: Direction): void {
    this.#mark(Mark.TRACKED, false)
    this.#noteUntracked(seg, direction)
  }

  #noteUntracked(seg: Segment, direction: Direction): void {
    const reset = seg.has(RST)
    this.#mark(Mark.RESET, reset)
    if (direction === 'outbound') {
      if (!reset) this.#mark(Mark.OWNER_SPOKE, true)
      const end = add(seg.seq, seg.len)
      this.peerAck = this.peerAck === ZERO ? end : max(this.peerAck, end)
      return
    }
    if (seg.has(ACK)) this.peerAck = this.peerAck === ZERO ? seg.ack : max(this.peerAck, seg.ack)
  }
}

/** A copy of `seg` that outlives the frame. */
// allocates: just that
export function copySegment(seg: Segment): Segment {
  const copy = new Segment()
  copy.srcPort = seg.srcPort
  copy.dstPort = seg.dstPort
  copy.seq = seg.seq
  copy.ack = seg.ack
  copy.flags = seg.flags
  copy.wnd = seg.wnd
  copy.ecn = seg.ecn
  copy.defaultMss = seg.defaultMss
  copy.mss = seg.mss
  copy.windowScale = seg.windowScale
  copy.sackPermitted = seg.sackPermitted
  copy.hasTimestamps = seg.hasTimestamps
  copy.tsVal = seg.tsVal
  copy.tsEcr = seg.tsEcr
  copy.text = seg.text.slice(seg.textStart, seg.textEnd)
  copy.textStart = 0
  copy.textEnd = copy.text.length
  return copy
}
