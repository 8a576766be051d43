/**
 * Checkers: the laws of a run. 1 shadow law, 3 one speaker, 4 no silent loss, 5 record law; the streams' ends check law 2
 * themselves, the scenario checks 6 and 7.
 */
import { compareClaims } from '../../cluster/declaration.js'
import type { Action, NodeReport } from '../../cluster/node-actions.js'
import type { Shadow } from '../../cluster/shadow.js'
import { decodeTcbRecord, encodeTcbRecord } from '../../cluster/tcb-record.js'
import {
  type Connection,
  DropReason,
  EtherType,
  type Frame,
  type IpAddress,
  type Millis,
  TCB_FIELDS,
  type Tcb,
  TcpState,
} from '../../stack/index.js'
import { RST } from '../../stack/wire/tcp.js'
import type { Bridge, BridgePort } from './bridge.js'
import type { Client, ClientSession } from './client.js'
import type { HostObserver, NodeHost } from './host.js'
import { CLIENT_ADDRESS, SERVER_ADDRESS, VIRTUAL_ADDRESS } from './place.js'
import type { World } from './world.js'

/** What a run was about. */
export interface Counts {
  connections: number
  done: number
  /** Connections with which another went on than the owner (P20). */
  passed: number
  /** Bindings that a recovered owner took back (P23). */
  returned: number
  takeovers: number
  midStream: number
  /** Shadows that came to a gap. */
  gaps: number
  /** Shadows that got what they had missed, those that did not, and connections that waited for it at a take-over. */
  repaired: number
  vain: number
  rescued: number
  shadowChecks: number
  recordChecks: number
  /** Connections that a node gave up while their client was still there. */
  cut: number
  /** Connections given up, by reason; of some the client has long gone. */
  readonly givenUp: Record<string, number>
}

// Their values depend on the clock, or on when a segment was seen: an equal TSval is not asked for.
const TOLERATED: ReadonlySet<string> = new Set(['tsRecentAt', 'tsOffset'])

// The order in which two ports see the two directions decides which of two timestamps is recent (RFC 7323 §4.3).
const ORDER_DEPENDENT: ReadonlySet<string> = new Set(['tsRecent'])

interface Cut {
  readonly from: Millis
  to: Millis
}

export class Checkers implements HostObserver {
  readonly counts: Counts = {
    connections: 0, done: 0, passed: 0, returned: 0, takeovers: 0, midStream: 0, gaps: 0, repaired: 0, vain: 0, rescued: 0, shadowChecks: 0, recordChecks: 0, cut: 0, givenUp: {},
  } // biome-ignore format: a list is read as a list
  /** A quorum is asked for: then no cut excuses a second speaker. */
  readonly quorate: boolean
  readonly #world: World
  readonly #bridge: Bridge
  readonly #hosts: readonly NodeHost[]
  // Nodes that have spoken in the life they are in.
  readonly #spoke = new Set<NodeHost>()
  readonly #resets = new Set<number>()
  // Ports of clients that were reset by a node that could not know of them.
  readonly #unknownTo = new Set<number>()
  #resetCount = 0
  #reportedResets = 0
  readonly #cuts: Cut[] = []
  #framesChecked = -1
  // Connections of which a shadow has heard what the owner has not: it leads, until the two are equal again.
  readonly #led = new Set<number>()
  #ownerMissed = ''
  // When an owner that another has outclaimed behind a cut answered with a reset: without a quorum nothing forbids that.
  #splitResetAt = Number.NEGATIVE_INFINITY
  #client: Client | null = null

  constructor(world: World, bridge: Bridge, hosts: readonly NodeHost[], quorate = false) {
    this.quorate = quorate
    this.#world = world
    this.#bridge = bridge
    this.#hosts = hosts
    bridge.onFrame = (from, frame) => {
      this.checkSpeaker(from, frame)
      this.#noteStray(from, frame)
    }
    world.afterStep = () => this.#afterStep()
  }

  watch(client: Client): void {
    this.#client = client
    client.onFailed = (session) => this.#explain(session)
  }

  /** The link or the control network is cut from now on. */
  cut(): void {
    this.#cuts.push({ from: this.#world.now, to: Number.POSITIVE_INFINITY })
  }

  healed(): void {
    for (const cut of this.#cuts) cut.to = Math.min(cut.to, this.#world.now)
  }

  handleReset(host: NodeHost, remotePort: number): void {
    this.#resets.add(remotePort)
    this.#resetCount++
    if (this.#client?.sessionAt(remotePort)?.over === false) this.counts.cut++
    this.#world.note(`n${host.id} gives up :${remotePort}`)
  }

  handleCrash(host: NodeHost): void {
    this.#spoke.delete(host)
    this.#addRepairs(host)
  }

  #addRepairs(host: NodeHost): void {
    const { stats, repair } = host.own.snooper
    this.counts.gaps += stats.gaps
    this.counts.repaired += repair?.stats.repaired ?? 0
    this.counts.vain += repair?.stats.vain ?? 0
  }

  /** A promoted connection has found out, late, that it cannot be saved. */
  handleInputLost(host: { readonly id: number }, remotePort: number): void {
    this.#resets.add(remotePort)
    this.counts.givenUp['late-gap'] = (this.counts.givenUp['late-gap'] ?? 0) + 1
    this.#world.note(`n${host.id} finds input of :${remotePort} lost`)
  }

  handleAction(host: NodeHost, action: Action): void {
    if (action.kind === 'report') this.#handleReport(host, action.report)
  }

  #handleReport(host: NodeHost, report: NodeReport): void {
    this.#world.note(`n${host.id} reports ${JSON.stringify(report)}`)
    if (report.event === 'flow-passed') this.counts.passed++
    if (report.event === 'owner-recovery') this.counts.returned++
    if (report.event === 'flow-lost') {
      this.#reportedResets++
      this.counts.givenUp[report.reason] = (this.counts.givenUp[report.reason] ?? 0) + 1
    }
    if (report.event !== 'takeover' && report.event !== 'repaired') return
    if (report.event === 'takeover') this.counts.takeovers++
    else {
      this.counts.rescued += report.connections
      // What it missed as a peer it did not have when the owner's connections were looked at.
      this.#ownerMissed = ''
    }
    this.counts.midStream += report.midStream
    for (const [reason, count] of Object.entries(report.givenUp)) {
      this.#reportedResets += count
      this.counts.givenUp[reason] = (this.counts.givenUp[reason] ?? 0) + count
    }
  }

  // Law 4.
  #explain(session: ClientSession): void {
    const port = session.localPort
    if (session.error !== 'ECONNRESET') {
      this.#world.violate(
        `silent loss: stream ${session.index} (:${port}) failed with ${session.error}`,
      )
      return
    }
    if (this.#resets.has(port)) return
    // A node that started behind the handshake and has heard nothing since cannot know of a connection.
    if (this.isUnknown(session)) return
    // Whoever said so may be gone by the time the client hears it.
    if (this.#unknownTo.has(port)) {
      this.counts.givenUp.unheard = (this.counts.givenUp.unheard ?? 0) + 1
      return
    }
    // It may be that of the connection to a proxy's server.
    if (this.#world.now - this.#splitResetAt < 1000) {
      this.counts.givenUp.split = (this.counts.givenUp.split ?? 0) + 1
      return
    }
    this.#world.violate(
      `silent loss: stream ${session.index} (:${port}) was reset and nobody gave it up`,
    )
  }

  /** True when a node has given this session up: its reset may have been lost on the way. */
  wasGivenUp(session: ClientSession): boolean {
    return this.#resets.has(session.localPort)
  }

  /**
   * True when the owner cannot know of this session: it started later, or was deaf, and has never held it. A client that
   * only listens then waits for ever.
   */
  isUnknown(session: ClientSession): boolean {
    const owner = this.#owner
    const unknown = owner !== undefined && this.#isUnknownTo(owner, session)
    if (unknown) this.counts.givenUp.unheard = (this.counts.givenUp.unheard ?? 0) + 1
    return unknown
  }

  #isUnknownTo(owner: NodeHost, session: ClientSession): boolean {
    if (owner.adopted.has(session.localPort)) return false
    if (owner.bornAt <= session.establishedAt && !owner.wasDeaf) return false
    for (const { remotePort } of owner.stack.tcp.demux.connections()) {
      if (remotePort === session.localPort) return false
    }
    return true
  }

  /** What can only be said at the end. */
  finish(): void {
    for (const host of this.#hosts) {
      if (host.running) this.#addRepairs(host)
    }
    if (this.#reportedResets !== this.#resetCount) {
      this.#world.violate(
        `silent loss: ${this.#resetCount} connections were given up, ${this.#reportedResets} were named`,
      )
    }
  }

  // Law 3.
  checkSpeaker(from: BridgePort, frame: Frame): void {
    if (!from.isNode || !speaksForAddress(frame)) return
    const host = this.#hosts.find((one) => one.port === from) as NodeHost
    const { epoch, state } = host.own
    const flow = tcpFlowOf(frame)
    const carries = flow !== null && host.own.carriage.carries(...flow)
    if (state !== 'owner' && !carries) {
      this.#world.violate(`one speaker: n${host.id} speaks as ${state}`)
    }
    const outclaimed = this.#hosts.some(
      ({ id, running, own }) =>
        running && own.state === 'owner' && compareClaims(own.epoch, id, epoch, host.id) > 0,
    )
    if (flow !== null && isReset(frame)) {
      if (outclaimed) this.#splitResetAt = this.#world.now
      const session = this.#client?.sessionAt(flow[2])
      if (session && this.#isUnknownTo(host, session)) this.#unknownTo.add(flow[2])
    }
    for (const other of this.#hosts) {
      if (other === host || !this.#spoke.has(other) || this.#wasCut()) continue
      if (!other.maySpeak) {
        const twice = flow !== null && other.mayCarry && other.own.carriage.carries(...flow)
        if (twice)
          this.#world.violate(`one speaker: n${host.id} and n${other.id} serve :${flow[2]}`)
        continue
      }
      if (carries && !other.own.carriage.serves(...flow)) continue
      const text = `n${host.id} in epoch ${epoch} and n${other.id} in epoch ${other.own.epoch}`
      this.#world.violate(`one speaker: both ${text} may speak`)
    }
    this.#spoke.add(host)
  }

  // The client sends to the last owner's Ethernet address until it has heard of the new one.
  #noteStray(from: BridgePort, frame: Frame): void {
    const { view, start } = frame
    if (from.isNode || view.getUint16(start + 12) !== EtherType.IPV4) return
    const owner = this.#owner
    if (owner !== undefined && view.getUint32(start + 2) === (owner.nic.mac & 0xffffffff) >>> 0)
      return
    this.#led.add(flowOf(view.getUint16(start + 14 + 22), view.getUint16(start + 14 + 20)))
  }

  get #owner(): NodeHost | undefined {
    // One whose port is shut takes itself for the owner until it is told.
    const owners = this.#hosts.filter((host) => host.running && host.own.state === 'owner')
    return owners.find((host) => host.maySpeak) ?? owners[0]
  }

  // Cut now, or so lately that word of it is still under way.
  #wasCut(): boolean {
    return !this.quorate && this.#cuts.some((cut) => this.#world.now <= cut.to + 500)
  }

  #afterStep(): void {
    if (this.#bridge.frames === this.#framesChecked || this.#bridge.inFlight > 0) return
    for (const host of this.#hosts) if (host.running && !host.idle) return
    this.#framesChecked = this.#bridge.frames
    this.checkShadows()
  }

  /** Law 1, at an instant where nothing is under way between the nodes. */
  checkShadows(): void {
    const owner = this.#owner
    // Frames that wait for the client's Ethernet address have departed and not been seen.
    if (owner === undefined || owner.nic.neighbors.isPending(CLIENT_ADDRESS)) return
    if (owner.nic.neighbors.isPending(SERVER_ADDRESS)) return
    // What comes in another order may be too old for the owner, and not for a shadow: that one leads then.
    const old = owner.stack.drops.get(DropReason.TCP_PAWS)
    // What waited for an Ethernet address in vain has departed, too, and nobody has heard it.
    const unsent = owner.stack.drops.get(DropReason.NEIGHBOR_UNRESOLVED)
    const missed = `${owner.id}:${owner.life}:${owner.lost + owner.port.missed + old + unsent}`
    if (missed !== this.#ownerMissed) {
      this.#ownerMissed = missed
      for (const connection of owner.stack.tcp.demux.connections())
        this.#led.add(flowOf(connection.localPort, connection.remotePort))
    }
    const watching = this.#hosts.filter((host) => host !== owner && isToKnowAll(host, owner))
    for (const connection of owner.stack.tcp.demux.connections())
      this.#compare(connection, watching)
    for (const { own } of watching) {
      if (!this.#world.random.chance(0.02)) continue
      for (const shadow of own.snooper.table.shadows()) this.#checkRecord(shadow)
    }
  }

  #compare(connection: Connection, watching: readonly NodeHost[]): void {
    const { localPort, remoteAddress, remotePort, tcb } = connection
    // A SYN that was taken and not answered yet, or a connection that ends in this very turn.
    if (tcb.state === TcpState.CLOSED || !tcb.synSent) return
    // In strict mode nobody has heard of it yet.
    if (connection.receiver.confirmed < 0) return
    const waits = tcb.state === TcpState.TIME_WAIT
    const flow = flowOf(localPort, remotePort)
    let led = false
    for (const { id, own } of watching) {
      const shadow = own.snooper.table.find(localPort, remoteAddress, remotePort)
      this.counts.shadowChecks++
      const difference = differenceOf(connection, shadow)
      if (difference === '') continue
      // Whoever takes it over waits anew, and a shadow does not.
      if (shadow === undefined && waits) continue
      led = true
      if (this.#led.has(flow)) continue
      this.#world.violate(`shadow law: :${remotePort} at n${id}: ${difference}`)
    }
    // One that was told of it by the owner does not lead where others may.
    if (!led && watching.length > 0) this.#led.delete(flow)
  }

  // Law 5.
  #checkRecord(shadow: Shadow): void {
    this.counts.recordChecks++
    const record = decodeTcbRecord(encodeTcbRecord(shadow.tcb, 7, this.#world.now))
    if (record === null) this.#world.violate('record law: a record is not read back')
    else if (!sameTcb(record.tcb, shadow.tcb)) this.#world.violate('record law: a record differs')
  }

  /** All sessions that are not over. */
  unfinished(): ClientSession[] {
    return this.#client === null ? [] : this.#client.sessions.filter((session) => !session.over)
  }
}

// It has heard all that the owner heard, and knows what it is to know.
function isToKnowAll(host: NodeHost, { own: { epoch } }: NodeHost): boolean {
  const { own } = host
  if (!host.running || !host.exact || own.state !== 'standby') return false
  return own.epoch === epoch && own.snooper.joining.complete
}

function flowOf(localPort: number, remotePort: number): number {
  return localPort * 0x10000 + remotePort
}

// In words, what differs between an owner's connection and its shadow; empty when nothing does.
function differenceOf(connection: Connection, shadow: Shadow | undefined): string {
  if (shadow === undefined) return 'no shadow'
  if (shadow.verdict === 'untracked') return 'untracked'
  const { tcb, buffers } = connection
  for (const field of TCB_FIELDS) {
    if (TOLERATED.has(field) || ORDER_DEPENDENT.has(field) || tcb[field] === shadow.tcb[field])
      continue
    return `${field} is ${tcb[field]}, and ${shadow.tcb[field]} in the shadow`
  }
  const own = buffers.received
  const other = shadow.buffers.received
  let same = own.end === other.end && own.rangeCount === other.rangeCount
  for (let i = 0; same && i < own.rangeCount; i++) {
    same = own.rangeLeft(i) === other.rangeLeft(i) && own.rangeRight(i) === other.rangeRight(i)
  }
  if (same) return ''
  return `text up to ${own.end}, and up to ${other.end} in the shadow`
}

function sameTcb(a: Tcb, b: Tcb): boolean {
  return TCB_FIELDS.every((field) => Object.is(a[field], b[field]))
}

// Local port, remote address and remote port of a segment from the virtual address; null: it is none.
function tcpFlowOf({ view, start }: Frame): [number, IpAddress, number] | null {
  if (view.getUint16(start + 12) !== EtherType.IPV4 || view.getUint8(start + 23) !== 6) return null
  const tcp = start + 14 + 20
  return [view.getUint16(tcp), view.getInt32(start + 30) as IpAddress, view.getUint16(tcp + 2)]
}

function isReset({ view, start }: Frame): boolean {
  return (view.getUint8(start + 14 + 20 + 13) & RST) !== 0
}

// IPv4 from the virtual address, or ARP that claims it.
function speaksForAddress(frame: Frame): boolean {
  const { view, start, end } = frame
  if (end - start < 34) return false
  const etherType = view.getUint16(start + 12)
  if (etherType === EtherType.IPV4) return view.getInt32(start + 26) === VIRTUAL_ADDRESS
  return etherType === EtherType.ARP && view.getInt32(start + 28) === VIRTUAL_ADDRESS
}
