// hot path: no allocation per frame
/**
 * Joining: how a node that came up late gets to know the connections that began before (P27). It asks the owner for a snapshot, keeps
 * what is said meanwhile of connections that it does not know, and folds that behind the snapshot. What the snapshot has
 * already changes nothing when it is folded again, as a retransmission does not.
 *
 * Until it is through, the node lacks connections, and lets others go before it when the owner dies (P20).
 */
import { type Millis, NEVER, type Segment } from '../stack/index.js'
import type { FlowKey } from './flow-key.js'
import { copySegment, type Direction, Shadow } from './shadow.js'
import type { SnapshotMessage } from './snapshot.js'
import type { Snooper } from './snooper.js'

/** Octets of segments that are kept at most; a connection for which there is no more room is asked for again. */
export const MAX_KEPT_OCTETS = 8 * 1024 * 1024
/** A request that was not answered in full by then is made again. */
export const ASK_AGAIN_MS: Millis = 500
// What a segment costs besides its text.
const SEGMENT_COST = 300

interface Kept {
  readonly seg: Segment
  readonly direction: Direction
  readonly peerMac: number
}

export class Joining {
  /** Every connection that the owner knew of is known here, too. */
  complete = false
  /** Connections that snapshots have brought. */
  installed = 0
  readonly #snooper: Snooper
  #askAt: Millis = 0
  #asking = false
  // By the shadow that knows too little.
  readonly #kept = new Map<Shadow, Kept[]>()
  #octets = 0
  // The connection that is being told of.
  #incoming: { readonly shadow: Shadow; readonly key: FlowKey } | null = null

  constructor(snooper: Snooper) {
    this.#snooper = snooper
  }

  /** When the owner is to be asked, if there is one. */
  get askAt(): Millis {
    return this.complete ? NEVER : this.#askAt
  }

  /** A request leaves now, for all. */
  asked(now: Millis): void {
    this.#asking = true
    this.#askAt = now + ASK_AGAIN_MS
    this.#incoming = null
    this.#forgetKept()
  }

  /** There is nothing to ask for: this node owns the binding, and whatever it lacks is lost. */
  end(): void {
    this.complete = true
    this.#asking = false
    this.#incoming = null
    this.#forgetKept()
  }

  /** Another owner, which is to be asked at once. */
  restart(): void {
    this.#askAt = 0
    this.#incoming = null
  }

  #forgetKept(): void {
    this.#kept.clear()
    this.#octets = 0
  }

  /** Takes note of a segment of a connection that is not known here. `seg` is borrowed. */
  // allocates: only while a snapshot is under way
  keep(shadow: Shadow, seg: Segment, direction: Direction, peerMac: number): void {
    if (!this.#asking || this.#octets > MAX_KEPT_OCTETS) return
    let kept = this.#kept.get(shadow)
    if (kept === undefined) {
      kept = []
      this.#kept.set(shadow, kept)
    }
    this.#octets += SEGMENT_COST + seg.textLength
    kept.push({ seg: copySegment(seg), direction, peerMac })
  }

  /** Takes a message of the owner's. True: it is to be asked for the next page. */
  // allocates: only while a snapshot is under way
  handle(message: SnapshotMessage, now: Millis): boolean {
    if (!this.#asking) return false
    switch (message.kind) {
      case 'flow': {
        const { key, record, received, sent, opener } = message
        const shadow = Shadow.from(key, record.tcb, received, sent)
        shadow.opener = opener
        this.#incoming = { shadow, key }
        return false
      }
      case 'text': {
        const { side, offset, bytes } = message
        this.#incoming?.shadow.buffers[side].put(offset, bytes, 0, bytes.length)
        return false
      }
      case 'install':
        this.#install(now)
        return false
      case 'page':
        this.#askAt = now + ASK_AGAIN_MS
        // Of some connections too much was said to be kept: they are asked for anew.
        if (!message.more && this.#octets <= MAX_KEPT_OCTETS) this.end()
        return message.more
      default:
        return false
    }
  }

  #install(now: Millis): void {
    const incoming = this.#incoming
    this.#incoming = null
    // What came later than its end was not kept: the snapshot would be taken for more than it is.
    if (incoming === null || this.#octets > MAX_KEPT_OCTETS) return
    const { shadow, key } = incoming
    const { table } = this.#snooper
    const known = table.find(key.localPort, key.remoteAddress, key.remotePort)
    if (known !== undefined && known.verdict !== 'untracked') return
    if (known === undefined && table.full) return
    const kept = known === undefined ? [] : (this.#kept.get(known) ?? [])
    if (known !== undefined) this.#kept.delete(known)
    for (const { seg, direction, peerMac } of kept) {
      this.#octets -= SEGMENT_COST + seg.textLength
      shadow.observe(seg, direction, now)
      if (peerMac !== 0) shadow.peerMac = peerMac
    }
    this.installed++
    this.#snooper.install(shadow, known, now)
  }
}
