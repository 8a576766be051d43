/**
 * NodeStatus: what a node tells its operator (O3): bindings, connections, shadows, peers, take-overs and drops, as plain data that
 * the page, `understudy status` and the metrics read. It is gathered when somebody asks; a frame costs nothing for it.
 */
import {
  formatEndpoint,
  formatIpAddress,
  type IpAddress,
  type Millis,
  type Stack,
  TCP_STATE_NAMES,
} from '../../stack/index.js'
import type { NodeId } from '../binding.js'
import type { RepairStats } from '../gap-repair.js'
import type { ClusterNode, NodeReport } from '../node.js'
import type { Ownership } from '../ownership.js'
import type { Shadow } from '../shadow.js'
import type { StrictMode, StrictState, StrictStats } from '../strict-mode.js'

/** Connections that are told one by one, at most; the counts are of all. */
export const MAX_TOLD = 200
/** Take-overs and decisions that are remembered. */
export const MAX_REMEMBERED = 50

/** One connection of a binding, as its owner has it or as a permanency peer shadows it. */
export interface ConnectionStatus {
  readonly local: string
  readonly remote: string
  readonly state: string
  /** Octets of the peer's stream that are here, and of ours that were sent. */
  readonly received: number
  readonly sent: number
  /** Of a connection that this node owns; of a shadow whether it could be taken over. */
  readonly verdict: 'owned' | 'ready' | 'gap' | 'untracked'
  /** Octets that the owner acknowledged and that are missing here. */
  readonly gap: number
  /** SRTT; null while none was taken, and of a shadow. */
  readonly rttMs: number | null
}

export interface BindingStatus {
  readonly id: number
  readonly address: string
  readonly firstPort: number
  readonly lastPort: number
  readonly state: string
  readonly epoch: number
  /** Null while nobody is known to own it. */
  readonly owner: NodeId | null
  readonly connections: number
  readonly shadows: { readonly ready: number; readonly gap: number; readonly untracked: number }
  /** What this node missed, asked for, and got (D1). */
  readonly repairs: Readonly<RepairStats>
  /** Per cent of the connections that could be taken over, as far as this node knows: see `Protection`. Null without any. */
  readonly protectedPercent: number | null
  /** Null where no acknowledgement waits for a peer (D2). */
  readonly strict: StrictStatus | null
  /** Nodes of the set that are heard, this one counted, and how many must be (D3). Null where none is asked for. */
  readonly quorum: { readonly heard: number; readonly need: number } | null
  readonly told: readonly ConnectionStatus[]
}

/** Strict mode of a binding, as its owner knows it; elsewhere its counters stand still. */
export interface StrictStatus extends Readonly<StrictStats> {
  readonly state: StrictState
  /** Peers that must confirm, and those that do. */
  readonly peers: number
  readonly confirming: readonly NodeId[]
  /** Connections that have something that is not confirmed now. */
  readonly waiting: number
}

export interface PeerStatus {
  readonly id: NodeId
  readonly up: boolean
  /** Milliseconds since anything was heard of it. */
  readonly silentMs: number | null
}

/** A take-over by this node. Instants are milliseconds from the last sign of life of the owner before. */
export interface TakeoverStatus {
  /** Milliseconds of the Unix epoch. */
  readonly at: number
  readonly binding: number
  readonly from: NodeId
  readonly to: NodeId
  readonly epoch: number
  readonly cause: string
  readonly connections: number
  readonly promoted: number
  readonly givenUp: Readonly<Record<string, number>>
  readonly suspectedMs: number
  readonly fencedMs: number
  readonly claimedMs: number
  /** When a client's first segment was folded behind the claim; null before. */
  readonly answeredMs: number | null
}

export interface NodeStatus {
  readonly id: NodeId
  readonly cluster: string
  readonly pid: number
  /** Milliseconds of the Unix epoch. */
  readonly at: number
  readonly upMs: number
  readonly bindings: readonly BindingStatus[]
  readonly peers: readonly PeerStatus[]
  readonly takeovers: readonly TakeoverStatus[]
  readonly decisions: readonly { readonly at: number; readonly report: NodeReport }[]
  readonly drops: Readonly<Record<string, number>>
  readonly framesHeard: number
  /** Frames that came faster than this node took them: each may be a gap in a shadow. Null where nobody counts. */
  readonly framesMissed: number | null
  /** Frames to other stations than `macFilter` lets pass. */
  readonly framesFiltered: number
}

/** What a status is gathered from. */
export interface StatusSource {
  readonly node: ClusterNode
  readonly stack: Stack
  readonly framesHeard: number
  readonly framesMissed: number | null
  readonly framesFiltered: number
  now(): Millis
}

export function gatherStatus(source: StatusSource, log: DecisionLog): NodeStatus {
  const { node } = source
  const now = source.now()
  const owned = connectionsByBinding(source)
  return {
    id: node.options.id,
    cluster: node.options.cluster,
    pid: process.pid,
    at: Date.now(),
    upMs: Math.round(process.uptime() * 1000),
    bindings: node.ownerships.map((each) => bindingStatus(each, owned.get(each), now)),
    peers: [...node.peers.all()].map(({ id, up }) => {
      const heardAt = node.detector.lastHeardAt(id)
      return { id, up, silentMs: heardAt > 0 ? Math.max(now - heardAt, 0) : null }
    }),
    takeovers: log.takeovers,
    decisions: log.decisions,
    drops: source.stack.drops.toJSON(),
    framesHeard: source.framesHeard,
    framesMissed: source.framesMissed,
    framesFiltered: source.framesFiltered,
  }
}

interface Owned {
  count: number
  readonly told: ConnectionStatus[]
}

function connectionsByBinding({ node, stack }: StatusSource): Map<Ownership, Owned> {
  const byBinding = new Map<Ownership, Owned>()
  for (const connection of stack.tcp.demux.connections()) {
    const ownership = node.ownershipAt(connection.localAddress, connection.localPort)
    if (ownership === undefined) continue
    let owned = byBinding.get(ownership)
    if (owned === undefined) {
      owned = { count: 0, told: [] }
      byBinding.set(ownership, owned)
    }
    owned.count++
    if (owned.told.length >= MAX_TOLD) continue
    const { tcb, sender } = connection
    const { srttMs } = sender.rtt
    owned.told.push({
      local: formatEndpoint(connection.localAddress as IpAddress, connection.localPort),
      remote: formatEndpoint(connection.remoteAddress as IpAddress, connection.remotePort),
      state: TCP_STATE_NAMES[tcb.state] ?? 'unknown',
      received: tcb.rcvNxtOffset,
      sent: tcb.sndNxtOffset,
      verdict: 'owned',
      gap: 0,
      rttMs: srttMs < 0 ? null : srttMs,
    })
  }
  return byBinding
}

const NO_REPAIRS: RepairStats = { seen: 0, repaired: 0, vain: 0, refused: 0 }

function bindingStatus(ownership: Ownership, owned: Owned | undefined, now: Millis): BindingStatus {
  const { binding, snooper, quorum } = ownership
  const shadows = { ready: 0, gap: 0, untracked: 0 }
  const told: ConnectionStatus[] = owned?.told ?? []
  for (const shadow of snooper.table.shadows()) {
    shadows[shadow.verdict]++
    if (told.length < MAX_TOLD) told.push(shadowStatus(shadow))
  }
  return {
    id: binding.id,
    address: formatIpAddress(binding.address),
    firstPort: binding.firstPort,
    lastPort: binding.lastPort,
    state: ownership.state,
    epoch: ownership.epoch,
    owner: ownership.owner === 0 ? null : ownership.owner,
    connections: owned?.count ?? 0,
    shadows,
    repairs: { ...(snooper.repair?.stats ?? NO_REPAIRS) },
    protectedPercent: snooper.repair?.protection.percent(now) ?? null,
    strict: strictStatus(snooper.strict),
    quorum: quorum.need > 1 ? { heard: quorum.heard(now), need: quorum.need } : null,
    told,
  }
}

function strictStatus(strict: StrictMode | null): StrictStatus | null {
  if (strict === null) return null
  const { stats, state, terms, confirming, waiting } = strict
  return { ...stats, state, peers: terms.peers, confirming, waiting }
}

function shadowStatus(shadow: Shadow): ConnectionStatus {
  const { key, tcb } = shadow
  return {
    local: formatEndpoint(key.localAddress, key.localPort),
    remote: formatEndpoint(key.remoteAddress, key.remotePort),
    state: shadow.verdict === 'untracked' ? 'unknown' : (TCP_STATE_NAMES[tcb.state] ?? 'unknown'),
    received: tcb.rcvNxtOffset,
    sent: tcb.sndNxtOffset,
    verdict: shadow.verdict,
    gap: shadow.gapLength,
    rttMs: null,
  }
}

interface Watched {
  readonly takeover: { answeredMs: number | null }
  readonly origin: Millis
  readonly marks: readonly { readonly sum: () => number; readonly before: number }[]
}

/** Promoted connections of which the first sign of life is looked for. */
const MAX_WATCHED = 32

/** The last decisions and take-overs of a node, with the instants of each. Bounded. */
export class DecisionLog {
  readonly decisions: { at: number; report: NodeReport }[] = []
  readonly takeovers: TakeoverStatus[] = []
  /** Take-overs by cause since the start. */
  readonly causes = new Map<string, number>()
  /** Connections given up since the start, by reason (D5). */
  readonly givenUp = new Map<string, number>()
  #watched: Watched | null = null

  /** Notes what `source` reports; `now` is the driver's clock. */
  note(report: NodeReport, source: StatusSource, now: Millis): void {
    keep(this.decisions, { at: Date.now(), report })
    if (report.event === 'flow-lost') {
      this.givenUp.set(report.reason, (this.givenUp.get(report.reason) ?? 0) + 1)
    }
    if (report.event !== 'takeover' && report.event !== 'repaired') return
    for (const [reason, count] of Object.entries(report.givenUp)) {
      this.givenUp.set(reason, (this.givenUp.get(reason) ?? 0) + (count ?? 0))
    }
    if (report.event === 'repaired') {
      this.#addRepaired(report)
      return
    }
    const { binding, from, to, epoch, cause, connections, promoted, givenUp } = report
    this.causes.set(cause, (this.causes.get(cause) ?? 0) + 1)
    const silentMs = Math.max(report.silentMs, 0)
    const takeover = {
      at: Date.now(),
      binding,
      from,
      to,
      epoch,
      cause,
      connections,
      promoted,
      givenUp: { ...givenUp } as Record<string, number>,
      suspectedMs: silentMs,
      fencedMs: silentMs + report.fencedMs,
      claimedMs: silentMs + report.ms,
      answeredMs: null,
    }
    keep(this.takeovers, takeover)
    this.#watch(takeover, source, now - takeover.claimedMs)
  }

  // What waited for text at the last take-over belongs to it.
  #addRepaired(report: Extract<NodeReport, { event: 'repaired' }>): void {
    const { binding, epoch, connections, promoted, givenUp } = report
    const at = this.takeovers.findLastIndex((one) => one.binding === binding && one.epoch === epoch)
    const last = this.takeovers[at]
    if (last === undefined) return
    const all: Record<string, number> = { ...last.givenUp }
    for (const [reason, count] of Object.entries(givenUp)) all[reason] = (all[reason] ?? 0) + count
    this.takeovers[at] = Object.assign(last, {
      connections: last.connections + connections,
      promoted: last.promoted + promoted,
      givenUp: all,
    })
  }

  #watch(takeover: { answeredMs: number | null }, { stack }: StatusSource, origin: Millis): void {
    const marks: { sum: () => number; before: number }[] = []
    for (const connection of stack.tcp.demux.connections()) {
      const sum = () => connection.tcb.rcvNxtOffset + connection.tcb.sndUnaOffset
      marks.push({ sum, before: sum() })
      if (marks.length >= MAX_WATCHED) break
    }
    this.#watched = marks.length === 0 ? null : { takeover, origin, marks }
  }

  /** A batch was taken: has a client of the last take-over answered? */
  look(now: Millis): void {
    const watched = this.#watched
    if (watched === null) return
    if (!watched.marks.some(({ sum, before }) => sum() !== before)) return
    watched.takeover.answeredMs = now - watched.origin
    this.#watched = null
  }
}

function keep<T>(list: T[], entry: T): void {
  list.push(entry)
  if (list.length > MAX_REMEMBERED) list.shift()
}
