// hot path: no allocation per frame
/**
 * Snooper: what this node has overheard of one binding: its shadows, and which of them changed. Segments come from the Wiretap.
 */
import {
  ACK,
  type DropCounters,
  DropReason,
  type IpAddress,
  isSynchronized,
  type Millis,
  type Segment,
  SYN,
  TcpState,
} from '../stack/index.js'
import type { Binding } from './binding.js'
import type { FlowKey } from './flow-key.js'
import type { GapRepair } from './gap-repair.js'
import { Joining } from './joining.js'
import { type PairedIss, Pairs } from './pairs.js'
import { isFilling } from './retention.js'
import { type Direction, Shadow } from './shadow.js'
import { ShadowTable } from './shadow-table.js'
import type { StrictMode } from './strict-mode.js'

/** What the snooper has seen of a binding. */
export interface SnoopStats {
  segments: number
  /** Shadows that came to a gap, by the first time. */
  gaps: number
  untracked: number
}

/** What a node could take over. */
export interface Coverage {
  readonly oldestAt: Millis
  readonly lacks: boolean
}

export class Snooper {
  readonly binding: Binding
  readonly table = new ShadowTable()
  /** What proxies have joined. */
  readonly pairs: Pairs
  /** Shadows that changed since the mirror was last written. */
  readonly dirty: Shadow[] = []
  /** Shadows that left the table and must leave the mirror. */
  readonly removed: Shadow[] = []
  readonly stats: SnoopStats = { segments: 0, gaps: 0, untracked: 0 }
  readonly drops: DropCounters
  /** How connections that began before this node was there come to be known. */
  readonly joining: Joining = new Joining(this)
  /** How what was missed comes to be known; set by the node. */
  repair: GapRepair | null = null
  /** Who tells the owner what is here, where the binding is strict (D2); set by the node. */
  strict: StrictMode | null = null
  /** Lets go of what nobody needs of a shadow that is filling; set by the binding's owner-to-be, which knows of checkpoints. */
  relieve: (shadow: Shadow) => void = () => {}
  /** While this node owns the binding there is nothing to overhear, but of connections that wait for what they lack, or that others serve. */
  active = true
  /** Connections that are not known are another's business: this node owns the binding. */
  knownOnly = false
  /** True for a connection that this node serves itself, although it does not own the binding (P20). */
  ignores: (localPort: number, remoteAddress: IpAddress, remotePort: number) => boolean = () =>
    false
  /** True for a connection that another node serves than the owner (P20, P23). */
  isAway: (key: FlowKey) => boolean = () => false

  constructor(binding: Binding, drops: DropCounters, pairedIss: PairedIss = noPairs) {
    this.binding = binding
    this.drops = drops
    this.pairs = new Pairs(pairedIss)
  }

  /** Folds one segment of the binding. `seg` is borrowed; `peerMac` is the sender's, of an inbound one; 0: it is not known. */
  observe(
    seg: Segment,
    direction: Direction,
    localPort: number,
    remoteAddress: IpAddress,
    remotePort: number,
    peerMac: number,
    now: Millis,
  ): void {
    let shadow = this.table.find(localPort, remoteAddress, remotePort)
    if (!this.#concerns(shadow, seg, direction, localPort, remoteAddress, remotePort)) return
    this.stats.segments++
    if (shadow === undefined || shadow.isReplacedBy(seg, direction)) {
      shadow = this.#open(shadow, seg, direction, localPort, remoteAddress, remotePort, now)
      if (shadow === undefined) return
    }
    const before = shadow.verdict
    const stateBefore = shadow.tcb.state
    shadow.observe(seg, direction, now)
    if (direction === 'inbound' && peerMac !== 0) shadow.peerMac = peerMac
    if (!this.joining.complete && shadow.verdict === 'untracked') {
      this.joining.keep(shadow, seg, direction, peerMac, now)
    }
    if (shadow.partner === null) this.pairs.note(shadow)
    if (before === 'ready' && shadow.verdict === 'gap') this.stats.gaps++
    this.repair?.note(shadow, now)
    if (shadow.closed) {
      this.#end(shadow, direction, now)
      return
    }
    if (seg.textLength > 0 && isFilling(shadow, seg.textLength)) this.relieve(shadow)
    if (shadow.tcb.state !== stateBefore && shadow.tcb.state === TcpState.TIME_WAIT) {
      this.table.startWait(shadow, now)
    }
    this.touch(shadow)
  }

  // While this node owns the binding: one that another serves is watched like any; of one that waits to be promoted only the client is
  // heard, and none is begun in its place.
  #concerns(
    known: Shadow | undefined,
    seg: Segment,
    direction: Direction,
    localPort: number,
    remoteAddress: IpAddress,
    remotePort: number,
  ): boolean {
    const owned = this.knownOnly || !this.active
    if (known === undefined) return !owned && !this.ignores(localPort, remoteAddress, remotePort)
    return !owned || this.isAway(known.key) || (direction === 'inbound' && !seg.has(SYN))
  }

  #end(shadow: Shadow, direction: Direction, now: Millis): void {
    // Whether the peer's RST was valid is not known of one that is untracked: if it was not, the next segment tells.
    const sure = shadow.verdict !== 'untracked' || direction === 'outbound'
    // A snapshot that is under way may know it still: what was kept lies behind that.
    if (!sure && !this.joining.complete) return
    const { localPort, remoteAddress, remotePort } = shadow.key
    if (sure) this.table.ended.note(localPort, remoteAddress, remotePort, now)
    this.remove(shadow)
  }

  // The first segment of a connection, or of one in the place of another between the same endpoints.
  #open(
    old: Shadow | undefined,
    seg: Segment,
    direction: Direction,
    localPort: number,
    remoteAddress: IpAddress,
    remotePort: number,
    now: Millis,
  ): Shadow | undefined {
    const syn = old?.takeNewSyn() ?? null
    const { ended } = this.table
    if (seg.has(SYN)) ended.forget(localPort, remoteAddress, remotePort)
    else if (ended.has(localPort, remoteAddress, remotePort, now)) return undefined
    if (old !== undefined) this.remove(old)
    if (this.table.full) {
      this.drops.count(DropReason.SHADOW_TABLE_FULL)
      return undefined
    }
    const { id, address } = this.binding
    // allocates: once per connection
    const key = { binding: id, localAddress: address, localPort, remoteAddress, remotePort }
    // The first SYN must have been heard: it alone tells who opened, and half of the options.
    // The peer's answer to the owner's SYN may come here first.
    const opener = seg.has(SYN) && (direction === 'outbound') !== seg.has(ACK)
    const tracked = syn !== null || opener || (seg.has(SYN) && !seg.has(ACK))
    if (!tracked) {
      this.stats.untracked++
      this.drops.count(DropReason.SHADOW_NO_SYN)
    }
    const shadow = new Shadow(key, null, tracked)
    shadow.opener = opener && syn === null
    shadow.openedAt = now
    if (syn !== null) shadow.observe(syn, 'inbound', now)
    const evicted = this.table.add(shadow, now)
    if (evicted !== null) {
      this.drops.count(DropReason.SHADOW_TABLE_FULL)
      this.pairs.forget(evicted)
      this.removed.push(evicted)
    }
    return shadow
  }

  /** A snapshot's connection, in place of what was known of it. */
  // allocates: once per connection of a snapshot
  install(shadow: Shadow, known: Shadow | undefined, now: Millis): void {
    if (known !== undefined) {
      if (shadow.peerMac === 0) shadow.peerMac = known.peerMac
      this.remove(known)
    }
    if (shadow.closed) return
    this.admit(shadow, now)
    this.pairs.note(shadow)
  }

  /** Watches a connection from its middle on. */
  // allocates: once per connection
  admit(shadow: Shadow, now: Millis): void {
    this.table.add(shadow, now)
    if (shadow.tcb.state === TcpState.TIME_WAIT) this.table.startWait(shadow, now)
    this.touch(shadow)
  }

  /**
   * This node has missed what was said for a while, without a way to tell of whom: nothing that it knows is to be taken over. It asks
   * for all anew; what the owner does not name then is over. `outclaimed`: this node has served it, and another has claimed it since.
   */
  // allocates: once per cut
  distrust(outclaimed = false): void {
    for (const shadow of this.table.shadows()) {
      shadow.distrust()
      this.touch(shadow)
    }
    this.joining.begin()
    this.joining.outclaimed = outclaimed
  }

  /** The owner has named every connection that there is: what is still distrusted has ended unheard. Returns that. */
  // allocates: once per snapshot
  forgetDistrusted(): Shadow[] {
    const ended = [...this.table.shadows()].filter(({ distrusted }) => distrusted)
    for (const shadow of ended) this.remove(shadow)
    return ended
  }

  /** The same of one that was merely in doubt: whoever is its partner is not to go on from what is known of it. */
  forgetUnnamed(shadow: Shadow): void {
    const { localPort, remoteAddress, remotePort } = shadow.key
    const known = this.table.find(localPort, remoteAddress, remotePort) === shadow
    if (!known || this.isAway(shadow.key)) return
    this.remove(shadow)
    shadow.distrust()
  }

  /** A shadow has changed: the mirror is to have it, and the owner may be waiting for that. */
  touch(shadow: Shadow): void {
    this.strict?.peer.note(shadow)
    if (shadow.dirty) return
    shadow.dirty = true
    this.dirty.push(shadow)
  }

  /** Takes a shadow out of the table and out of the mirror. */
  remove(shadow: Shadow): void {
    this.table.remove(shadow)
    this.pairs.forget(shadow)
    this.removed.push(shadow)
  }

  /**
   * How far what was overheard reaches back: since when the oldest connection that could be taken over has been, and whether
   * there are any that could not, as they began before this node was there.
   */
  coverage(): Coverage {
    let oldestAt = Number.POSITIVE_INFINITY
    let lacks = !this.joining.complete
    for (const shadow of this.table.shadows()) {
      // What another node serves beside the owner stays with it.
      if (shadow.closed || this.isAway(shadow.key)) continue
      if (shadow.verdict === 'untracked' || shadow.partner?.distrusted === true) lacks = true
      else if (isSynchronized(shadow.tcb.state)) oldestAt = Math.min(oldestAt, shadow.openedAt)
    }
    // allocates: once per suspicion
    return { oldestAt, lacks }
  }

  /** Connections that this node could not take over. */
  lacking(): number {
    let count = 0
    for (const { verdict, key } of this.table.shadows()) {
      if (verdict !== 'ready' && !this.isAway(key)) count++
    }
    return count
  }

  handleTimeout(now: Millis): void {
    for (const shadow of this.table.expire(now)) {
      this.pairs.forget(shadow)
      this.removed.push(shadow)
    }
  }

  nextDeadline(): Millis {
    return this.table.nextDeadline()
  }
}

function noPairs(): never {
  throw new Error('this snooper was made without a way to tell pairs')
}
