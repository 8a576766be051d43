/**
 * OwnershipDeclaration (P3): what a node says of a binding on the data link: at every boot, in answer to a solicitation (P4),
 * when it claims, renews or yields. It travels as the payload of EtherType 0x88b5 and is authenticated with the cluster key; an
 * incarnation and a sequence number keep old ones from being played again.
 *
 * Written by hand with a DataView; read by binary-parser and then checked, as it accepts what is cut short.
 */
import { Parser } from 'binary-parser'
import {
  addressBits,
  DropReason,
  type IpAddress,
  ipAddressAt,
  type MacAddress,
  putIpAddress,
} from '../stack/index.js'
import type { Authenticator } from './authenticator.js'
import type { NodeId } from './binding.js'
import { MAX_POLICY_NAME } from './failover-policy.js'

/** Why the declaration is made. */
export const DeclarationKind = {
  /** "I am here": at boot, and in answer to others. */
  PRESENT: 1,
  /** "From now on I own the binding." */
  CLAIM: 2,
  /** "I still own it." */
  RENEW: 3,
  /** "I own it no more": `owner` is the one that is to go on with it (P24), or nobody in particular. */
  YIELD: 4,
  /** "I return it to `owner`, which has recovered; what the owner recovery directive names stays where it is" (P23). */
  RETURN: 5,
  /** "I suspect `owner`, and am about to claim the binding": whoever would claim it as well is to hear of it before either does. */
  CANDIDATE: 6,
  /** "May I claim the binding, `connections` terms beyond `epoch`?", where a quorum is asked for (D3): see consent.ts. */
  ASK: 7,
  /** "`owner` may claim it in `epoch`"; with nobody as `owner`: "terms up to `epoch` may have been used". */
  CONSENT: 8,
} as const
export type DeclarationKind = (typeof DeclarationKind)[keyof typeof DeclarationKind]

/** Who answers ARP for an address: whoever owns this binding of it, or another one that says so (P25). */
export const ArpPolicy = { OWNER: 1, ELSEWHERE: 2 } as const

/** What happens to bytes of which the application's reading is unknown (P21). */
export const DoubtfulData = { DELIVER: 1, DROP: 2 } as const
export type DoubtfulData = (typeof DoubtfulData)[keyof typeof DoubtfulData]

/** How a peer on the same host can make sure that this node is silent. */
export interface FenceTarget {
  /** Tells one host, and one boot of it, from another. */
  readonly host: number
  readonly pid: number
  /** When the process started, in clock ticks since boot: a process id may be used again. */
  readonly startTime: number
  /** Its interface in the bridge. */
  readonly port: string
}

/** A declaration as decoded, tag and cluster already checked; or as it is to be encoded. */
export interface OwnershipDeclaration {
  readonly kind: DeclarationKind
  /** Everybody is to answer with its own declaration. */
  readonly solicit: boolean
  /** The node knows of every connection of the binding, as far as it can tell. */
  readonly complete: boolean
  readonly node: NodeId
  /** When the node's process started, in ms since the Unix epoch: larger after each restart. */
  readonly incarnation: number
  /** Counts the declarations that one incarnation makes of one binding. */
  readonly sequence: number
  readonly binding: number
  /** The term of ownership. The greatest (epoch, owner) wins. */
  readonly epoch: number
  /** The owner as of `epoch`; 0: nobody that the node knows of. */
  readonly owner: NodeId
  /** By its terms the binding returns to a recovered owner (P23). */
  readonly recovery: boolean
  /**
   * With a YIELD that names its successor as `owner`: connections that go with the binding; with a RETURN: those that the owner recovery
   * directive names; with an ASK: terms. Else 0.
   */
  readonly connections: number
  readonly address: IpAddress
  readonly prefix: number
  readonly firstPort: number
  readonly lastPort: number
  /** The MAC address that belongs to the node's end of the link. */
  readonly mac: MacAddress
  /** The kind of fail-over policy: see `ConnectionPolicy`. */
  readonly connectionPolicy: number
  readonly arpPolicy: number
  readonly doubtfulData: number
  /** Strict mode (D2): see `strictCode`; 0: off. */
  readonly strict: number
  /** With `complete`, the node's standing as a successor (P7, P26). */
  readonly load: number
  readonly lacking: number
  readonly designates: NodeId
  /** The fail-over policy by name, with its parameters. */
  readonly policy: string
  /** Where the node's control channel listens. */
  readonly controlAddress: IpAddress
  readonly controlPort: number
  readonly heartbeatPort: number
  readonly fence: FenceTarget
  /** The application that must run. */
  readonly application: string
}

const MAGIC = 0x55445344
const VERSION = 6
const PROTOCOL_TCP = 6
const SOLICIT = 1
const COMPLETE = 2
const RECOVERY = 4
// Everything but the three texts.
const FIXED_LENGTH = 128
const TEXTS_AT = 125
const MAX_TEXT = 63

interface Wire
  extends Omit<
    OwnershipDeclaration,
    'solicit' | 'complete' | 'recovery' | 'fence' | 'mac' | 'address' | 'controlAddress'
  > {
  address: Uint8Array
  controlAddress: Uint8Array
  magic: number
  version: number
  flags: number
  protocol: number
  cluster: number
  macHigh: number
  macLow: number
  fenceHost: number
  fencePid: number
  fenceStart: number
  fencePort: string
}

const parser = new Parser()
  .uint32be('magic')
  .uint8('version')
  .uint8('kind')
  .uint8('flags')
  .uint8('protocol')
  .uint32be('cluster')
  .uint32be('node')
  .doublebe('incarnation')
  .uint32be('sequence')
  .uint16be('binding')
  .doublebe('epoch')
  .uint32be('owner')
  .buffer('address', { length: 16 })
  .uint8('prefix')
  .uint16be('firstPort')
  .uint16be('lastPort')
  .uint16be('macHigh')
  .uint32be('macLow')
  .uint8('connectionPolicy')
  .uint8('arpPolicy')
  .uint8('doubtfulData')
  .buffer('controlAddress', { length: 16 })
  .uint16be('controlPort')
  .uint16be('heartbeatPort')
  .uint32be('fenceHost')
  .uint32be('fencePid')
  .doublebe('fenceStart')
  .uint32be('connections')
  .uint32be('load')
  .uint32be('lacking')
  .uint32be('designates')
  .uint8('strict')
  .uint8('fencePortLength')
  .string('fencePort', { length: 'fencePortLength', encoding: 'latin1' })
  .uint8('applicationLength')
  .string('application', { length: 'applicationLength', encoding: 'latin1' })
  .uint8('policyLength')
  .string('policy', { length: 'policyLength', encoding: 'latin1' })

/** Encodes a declaration with its tag. `cluster` is the hash of the cluster's name. The caller owns the result. */
export function encodeDeclaration(
  d: OwnershipDeclaration,
  cluster: number,
  authenticator: Authenticator,
): Uint8Array {
  const port = d.fence.port.slice(0, MAX_TEXT)
  const application = d.application.slice(0, MAX_TEXT)
  const policy = d.policy.slice(0, MAX_POLICY_NAME)
  const length = FIXED_LENGTH + port.length + application.length + policy.length
  const bytes = new Uint8Array(length + authenticator.tagLength)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, MAGIC)
  view.setUint8(4, VERSION)
  view.setUint8(5, d.kind)
  const recovery = d.recovery ? RECOVERY : 0
  view.setUint8(6, (d.solicit ? SOLICIT : 0) | (d.complete ? COMPLETE : 0) | recovery)
  view.setUint8(7, PROTOCOL_TCP)
  view.setUint32(8, cluster)
  view.setUint32(12, d.node)
  view.setFloat64(16, d.incarnation)
  view.setUint32(24, d.sequence)
  view.setUint16(28, d.binding)
  view.setFloat64(30, d.epoch)
  view.setUint32(38, d.owner)
  putIpAddress(view, 42, d.address)
  view.setUint8(58, d.prefix)
  view.setUint16(59, d.firstPort)
  view.setUint16(61, d.lastPort)
  view.setUint16(63, Math.floor(d.mac / 0x1_0000_0000))
  view.setUint32(65, d.mac % 0x1_0000_0000)
  view.setUint8(69, d.connectionPolicy)
  view.setUint8(70, d.arpPolicy)
  view.setUint8(71, d.doubtfulData)
  putIpAddress(view, 72, d.controlAddress)
  view.setUint16(88, d.controlPort)
  view.setUint16(90, d.heartbeatPort)
  view.setUint32(92, d.fence.host)
  view.setUint32(96, d.fence.pid)
  view.setFloat64(100, d.fence.startTime)
  view.setUint32(108, d.connections)
  view.setUint32(112, d.load)
  view.setUint32(116, d.lacking)
  view.setUint32(120, d.designates)
  view.setUint8(124, d.strict)
  let at = TEXTS_AT
  for (const each of [port, application, policy]) at = putText(bytes, at, each)
  authenticator.sign(bytes.subarray(0, length), bytes, length)
  return bytes
}

function putText(bytes: Uint8Array, at: number, text: string): number {
  bytes[at] = text.length
  for (let i = 0; i < text.length; i++) bytes[at + 1 + i] = text.charCodeAt(i)
  return at + 1 + text.length
}

/** A declaration, or the reason to drop it. Octets behind the tag are padding: link frames have a least length. */
export function decodeDeclaration(
  bytes: Uint8Array,
  cluster: number,
  authenticator: Authenticator,
): OwnershipDeclaration | DropReason {
  if (bytes.length < FIXED_LENGTH + authenticator.tagLength) return DropReason.DECLARATION_MALFORMED
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (view.getUint32(0) !== MAGIC || view.getUint8(4) !== VERSION) {
    return DropReason.DECLARATION_MALFORMED
  }
  if (view.getUint32(8) !== cluster) return DropReason.DECLARATION_FOREIGN_CLUSTER
  const length = lengthOf(view, bytes.length - authenticator.tagLength)
  if (length < 0) return DropReason.DECLARATION_MALFORMED
  const tag = bytes.subarray(length, length + authenticator.tagLength)
  if (!authenticator.verify(bytes.subarray(0, length), tag)) return DropReason.DECLARATION_BAD_TAG
  const wire = parser.parse(bytes.subarray(0, length)) as Wire
  return isPlausible(wire) ? fromWire(wire) : DropReason.DECLARATION_MALFORMED
}

// Of a declaration without its tag in at most `limit` octets; -1 when its texts are too long.
function lengthOf(view: DataView, limit: number): number {
  let at = TEXTS_AT
  for (const most of [MAX_TEXT, MAX_TEXT, MAX_POLICY_NAME]) {
    const text = at < limit ? view.getUint8(at) : most + 1
    if (text > most) return -1
    at += 1 + text
  }
  return at <= limit ? at : -1
}

function isPlausible(w: Wire): boolean {
  return (
    w.kind >= DeclarationKind.PRESENT &&
    w.kind <= DeclarationKind.CONSENT &&
    w.node !== 0 &&
    Number.isSafeInteger(w.epoch) &&
    w.epoch >= 0 &&
    Number.isFinite(w.incarnation) &&
    w.prefix <= addressBits(addressIn(w.address))
  )
}

// As IPv6 has it, one of IPv4 mapped.
function addressIn(bytes: Uint8Array): IpAddress {
  return ipAddressAt(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0)
}

function fromWire(w: Wire): OwnershipDeclaration {
  const { kind, node, incarnation, sequence, binding, epoch, owner, prefix } = w
  const address = addressIn(w.address)
  const controlAddress = addressIn(w.controlAddress)
  const { firstPort, lastPort, connectionPolicy, arpPolicy, doubtfulData } = w
  const { connections, controlPort, heartbeatPort, application } = w
  const { load, lacking, designates, strict, policy } = w
  return {
    kind, solicit: (w.flags & SOLICIT) !== 0, complete: (w.flags & COMPLETE) !== 0, recovery: (w.flags & RECOVERY) !== 0, node, incarnation, sequence, binding, epoch, owner,
    connections, address, prefix, firstPort, lastPort, mac: w.macHigh * 0x1_0000_0000 + w.macLow,
    connectionPolicy, arpPolicy, doubtfulData, strict, load, lacking, designates, policy, controlAddress, controlPort, heartbeatPort,
    fence: { host: w.fenceHost, pid: w.fencePid, startTime: w.fenceStart, port: w.fencePort },
    application,
  } // biome-ignore format: a list of fields is read as a list
}

/** The order of claims: the greater epoch, then the greater node id. Positive when `a` goes before `b`. */
export function compareClaims(
  aEpoch: number,
  aOwner: NodeId,
  bEpoch: number,
  bOwner: NodeId,
): number {
  return aEpoch !== bEpoch ? aEpoch - bEpoch : aOwner - bOwner
}

/** FNV-1a of the cluster's name: keeps clusters on one link apart before the key is tried. */
export function clusterHash(name: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  }
  return hash >>> 0
}
