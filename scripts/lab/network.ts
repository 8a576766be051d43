/**
 * The wires of a lab. A network namespace "switch" holds a bridge that floods every frame to every port, as a hub does,
 * one persistent TAP for each node and one for the wire monitor; each client is a namespace of its own with one wire
 * into the bridge, or into one of the clients' own behind routers. The kernel owns no address on the switch, so that it neither answers
 * nor asks on the nodes' behalf.
 */
import { StackError } from '../../stack/base/errors.js'
import { isIpv6 } from './address-family.js'
import type { LabClient, LabRecord } from './lab-file.js'
import { outerLinkScript, routerScript } from './routers.js'
import type { Space } from './space.js'

/** Frames that a TAP's queue holds. The kernel's 1000 lose frames under load, and each loss is a gap in a shadow. */
const TAP_QUEUE = 32_768

/** What was counted on the wire of one client, to and from the virtual address. */
export interface WireCounts {
  /** Connection requests that the client sent, repeated ones included. */
  readonly syns: number
  readonly resetsIn: number
  readonly resetsOut: number
}

/** Makes the namespaces, the bridge, the TAPs and the clients' wires of `lab`. Throws ERR_LAB_COMMAND. */
export function buildNetwork(space: Space, lab: LabRecord): void {
  space.runScript(switchScript(lab))
  for (const router of lab.routers) space.runScript(routerScript(lab, router, QUIET_SWITCH))
  for (const client of lab.clients) space.runScript(clientScript(lab, client))
}

function switchScript(lab: LabRecord): string {
  const at = `ip -n ${lab.switchNamespace}`
  const lines = [
    `ip netns add ${lab.switchNamespace}`,
    `ip netns exec ${lab.switchNamespace} sh -c '${QUIET_SWITCH}'`,
    `${at} link set lo up`,
    ...outerLinkScript(lab),
  ]
  for (const bridge of lab.bridges) {
    lines.push(
      `${at} link add ${bridge} type bridge ${lab.learning ? '' : 'ageing_time 0'} mcast_snooping 0 stp_state 0 forward_delay 0`,
      `${at} link set ${bridge} addrgenmode none`,
      `${at} link set ${bridge} up`,
    )
  }
  const monitor = { tap: lab.monitorTap, bridge: lab.bridges[0] }
  for (const { tap, bridge } of [monitor, ...lab.nodes]) {
    lines.push(
      `${at} tuntap add dev ${tap} mode tap`,
      `${at} link set ${tap} addrgenmode none txqueuelen ${TAP_QUEUE}`,
      `${at} link set ${tap} master ${bridge} up`,
    )
  }
  return lines.join('\n')
}

// IPv6 is off so that the kernel sends no neighbour or router solicitations of its own; filtering of bridged frames is
// off because a host whose forward policy is "drop" would kill them.
const QUIET_SWITCH = [
  'for f in /proc/sys/net/ipv6/conf/all /proc/sys/net/ipv6/conf/default; do',
  '[ -e $f/disable_ipv6 ] && echo 1 >$f/disable_ipv6; done;',
  'for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ -e $f ] && echo 0 >$f; done; true',
].join(' ')

function clientScript(lab: LabRecord, client: LabClient): string {
  const name = client.namespace
  const at = `ip -n ${lab.switchNamespace}`
  return [
    `ip netns add ${name}`,
    `ip netns exec ${name} sh -c '${QUIET_SWITCH}'`,
    `${at} link add ${client.port} type veth peer name eth0 netns ${name}`,
    `${at} link set ${client.port} addrgenmode none`,
    `${at} link set ${client.port} master ${lab.outerBridge ?? lab.bridges[0]} up`,
    `ip -n ${name} link set lo up`,
    `ip -n ${name} link set eth0 addrgenmode none`,
    ...(isIpv6(client.address) ? [`ip netns exec ${name} sh -c '${IPV6_CLIENT}'`] : []),
    `ip -n ${name} link set eth0 up`,
    `ip -n ${name} address add ${client.address} dev eth0${isIpv6(client.address) ? ' nodad' : ''}`,
    ...lab.routers.slice(0, 1).map(({ outerAddress }) => {
      const [address, prefix] = lab.address.split('/') as [string, string]
      const network = isIpv6(address) ? `fd77::/${prefix}` : `10.77.0.0/${prefix}`
      return `ip -n ${name} route add ${network} via ${outerAddress.split('/')[0]}`
    }),
  ].join('\n')
}

// As any host has it, but that it need not wait for its addresses, and asks for no routers.
const IPV6_CLIENT = [
  'cd /proc/sys/net/ipv6/conf/eth0; echo 0 >accept_ra; echo 0 >dad_transmits;',
  'echo 0 >disable_ipv6; ip link set eth0 addrgenmode eui64',
].join(' ')

/** Counts SYNs and RSTs on the wires of all clients from now on. Throws ERR_LAB_NO_COUNTERS when there is no nft. */
export function countWire(space: Space, lab: LabRecord): void {
  const virtual = lab.address.split('/')[0]
  const ip = isIpv6(lab.address) ? 'ip6' : 'ip'
  const rules = [
    'table inet understudy {',
    'counter syns { }; counter resets_in { }; counter resets_out { };',
    'chain departs { type filter hook output priority raw; policy accept;',
    `${ip} daddr ${virtual} tcp flags & (syn | ack) == syn counter name syns;`,
    `${ip} daddr ${virtual} tcp flags & rst == rst counter name resets_out; };`,
    'chain arrives { type filter hook prerouting priority raw; policy accept;',
    `${ip} saddr ${virtual} tcp flags & rst == rst counter name resets_in; }; }`,
  ].join(' ')
  try {
    for (const client of lab.clients) space.runScriptIn(client.namespace, `nft '${rules}'`)
  } catch (error) {
    throw new StackError(
      'ERR_LAB_NO_COUNTERS',
      `nft cannot count on the client's wire: install nftables (${(error as Error).message})`,
    )
  }
}

/** What {@link countWire} has counted on the wire of `client`. */
export function readWireCounts(space: Space, client: LabClient): WireCounts {
  const text = space.runScriptIn(client.namespace, 'nft list counters table inet understudy')
  return parseCounters(text)
}

/** Reads the packet counts out of what `nft list counters` prints. */
export function parseCounters(text: string): WireCounts {
  const packets = (name: string): number => {
    const match = new RegExp(`counter ${name} \\{\\s*packets (\\d+)`).exec(text)
    if (match?.[1] === undefined) {
      throw new StackError('ERR_LAB_COMMAND', `nft did not list the counter ${name}: ${text}`)
    }
    return Number(match[1])
  }
  return { syns: packets('syns'), resetsIn: packets('resets_in'), resetsOut: packets('resets_out') }
}
