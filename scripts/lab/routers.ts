/**
 * Routers of a lab (P12): namespaces between the nodes' links and a link of the clients' own. Either leads to all; where the nodes are on
 * several links, each router is also the layer-4 switch that picks the link by the port that a client asks for.
 */
import { isIpv6 } from './address-family.js'
import type { LabRecord, LabRouter } from './lab-file.js'

/** The clients' side of a lab with routers: a bridge in the switch namespace. */
export function outerLinkScript(lab: LabRecord): string[] {
  if (lab.outerBridge === null) return []
  const at = `ip -n ${lab.switchNamespace}`
  return [
    `${at} link add ${lab.outerBridge} type bridge mcast_snooping 0 stp_state 0 forward_delay 0`,
    `${at} link set ${lab.outerBridge} addrgenmode none`,
    `${at} link set ${lab.outerBridge} up`,
  ]
}

/** One router with a wire into each link of the nodes and into that of the clients. */
export function routerScript(lab: LabRecord, router: LabRouter, quiet: string): string {
  const name = router.namespace
  const six = isIpv6(router.address)
  const lines = [
    `ip netns add ${name}`,
    `ip netns exec ${name} sh -c '${quiet}'`,
    `ip netns exec ${name} sh -c '${FORWARDING}'`,
    `ip -n ${name} link set lo up`,
    ...wire(lab, router, 'out', lab.outerBridge ?? '', router.outerAddress),
  ]
  for (const [index, bridge] of lab.bridges.entries()) {
    // One route to the nodes' network is enough: what belongs on another link is led there.
    const address =
      index === 0 ? router.address : router.address.replace(/\/.*/, six ? '/128' : '/32')
    lines.push(...wire(lab, router, `in${index + 1}`, bridge, address))
    if (index > 0) lines.push(...split(lab, router, index))
  }
  return lines.join('\n')
}

function wire(
  lab: LabRecord,
  router: LabRouter,
  device: string,
  bridge: string,
  address: string,
): string[] {
  const { namespace: name } = router
  const port = portOf(router, device)
  const at = `ip -n ${lab.switchNamespace}`
  const six = isIpv6(address)
  const enable = `cd /proc/sys/net/ipv6/conf/${device}; echo 0 >accept_ra; echo 0 >dad_transmits; echo 0 >disable_ipv6`
  return [
    `${at} link add ${port} type veth peer name ${device} netns ${name}`,
    `${at} link set ${port} addrgenmode none`,
    `${at} link set ${port} master ${bridge} up`,
    `ip -n ${name} link set ${device} addrgenmode none`,
    ...(six ? [`ip netns exec ${name} sh -c '${enable}'`] : []),
    `ip -n ${name} link set ${device} up`,
    `ip -n ${name} address add ${address} dev ${device}${six ? ' nodad' : ''}`,
  ]
}

/** The bridge's end of a router's wire: `out` into the clients' link, `in1`, `in2`, ... into the nodes'. */
export function portOf(router: LabRouter, device: string): string {
  return `${router.namespace}${device}`
}

// What asks for a port of the link with this index is led to it.
function split(lab: LabRecord, router: LabRouter, index: number): string[] {
  const name = router.namespace
  const virtual = lab.address.split('/')[0]
  const [mark, table] = [index + 1, 100 + index]
  const rule = `ip daddr ${virtual} tcp dport ${lab.shares[index]} meta mark set ${mark}`
  return [
    `ip -n ${name} rule add fwmark ${mark} lookup ${table}`,
    `ip -n ${name} route add ${virtual} dev in${index + 1} table ${table}`,
    `ip netns exec ${name} nft 'table inet split${index} { chain c { type filter hook prerouting priority mangle; ${rule}; }; }'`,
  ]
}

// What comes in by one link may leave by any other.
const FORWARDING = [
  'cd /proc/sys/net; echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding;',
  'for f in ipv4/conf/all ipv4/conf/default; do echo 0 >$f/rp_filter; echo 0 >$f/send_redirects; done',
].join(' ')
