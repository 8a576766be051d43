/**
 * Herald: makes this node's ownership declarations (P3) and counts them, so that an old one cannot be played again.
 */
import { BROADCAST_MAC, EtherType, type IpAddress, type Nic } from '../stack/index.js'
import type { Authenticator } from './authenticator.js'
import type { NodeId } from './binding.js'
import { ArpPolicy, clusterHash, type DeclarationKind, encodeDeclaration } from './declaration.js'
import { type Standing, termsOf } from './failover-policy.js'
import { doubtfulDataOf, type NodeOptions, type PermanencySet, strictCode } from './node-options.js'

export class Herald {
  readonly #options: NodeOptions
  readonly #nic: Nic
  readonly #authenticator: Authenticator
  readonly #cluster: number
  // By binding: one way may lose a declaration that the other brings behind a later one of another binding.
  readonly #sequences = new Map<number, number>()

  constructor(options: NodeOptions, nic: Nic, authenticator: Authenticator) {
    this.#options = options
    this.#nic = nic
    this.#authenticator = authenticator
    this.#cluster = clusterHash(options.cluster)
  }

  /**
   * Declares on the link that `owner` owns the binding of `set` as of `epoch`. Returns the declaration for the control channels, where a
   * fenced or deaf node may still hear it; it is the caller's.
   */
  declare(
    kind: DeclarationKind,
    solicit: boolean,
    set: PermanencySet,
    epoch: number,
    owner: NodeId,
    standing: Standing,
    connections = 0,
  ): Uint8Array {
    const options = this.#options
    const { binding } = set
    const policy = termsOf(set.policy)
    const sequence = (this.#sequences.get(binding.id) ?? 0) + 1
    this.#sequences.set(binding.id, sequence)
    const bytes = encodeDeclaration(
      {
        kind,
        solicit,
        ...standing,
        node: options.id,
        incarnation: options.incarnation,
        sequence,
        binding: binding.id,
        epoch,
        owner,
        connections,
        recovery: set.recovery === 'return',
        address: binding.address,
        prefix: binding.prefix,
        firstPort: binding.firstPort,
        lastPort: binding.lastPort,
        mac: this.#nic.mac,
        connectionPolicy: policy.number,
        arpPolicy: set.arp === 'elsewhere' ? ArpPolicy.ELSEWHERE : ArpPolicy.OWNER,
        doubtfulData: doubtfulDataOf(set),
        strict: strictCode(set),
        policy: policy.name,
        controlAddress: options.controlAddress as IpAddress,
        controlPort: options.controlPort,
        heartbeatPort: options.heartbeatPort,
        fence: options.fence,
        application: options.application,
      },
      this.#cluster,
      this.#authenticator,
    )
    this.#nic.sendLinkMessage(BROADCAST_MAC, EtherType.EXPERIMENTAL, bytes)
    return bytes
  }
}
