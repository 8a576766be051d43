/**
 * That a node's TAP hears what is meant for others: the bridge it is a port of must work as a hub. A bridge that learns addresses
 * sends a client's frames to the owner alone; everything then seems well until the owner dies and no peer knows anything.
 *
 * The kernel is asked by ip(8), which sees this process's network namespace; /sys may show another one.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { StackError } from '../../stack/index.js'

/** What `ip -json -details link` says of an interface, as far as it matters here. */
export interface LinkInfo {
  readonly ifname: string
  readonly master?: string
  readonly linkinfo?: {
    readonly info_kind?: string
    readonly info_data?: { readonly ageing_time?: number; readonly mcast_snooping?: number }
  }
}

const OVERRIDE = 'or set "hub": "unchecked" if every frame reaches this port all the same'

/** Throws ERR_BRIDGE_NOT_HUB when the bridge of `tap` learns or filters, ERR_HUB_UNKNOWN when nobody can tell. */
export async function requireHub(tap: string, command = 'ip'): Promise<void> {
  const path = `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`
  let links: LinkInfo[]
  try {
    const args = ['-json', '-details', 'link', 'show']
    const options = { env: { ...process.env, PATH: path }, maxBuffer: 64 * 1024 * 1024 }
    const { stdout } = await promisify(execFile)(command, args, options)
    links = JSON.parse(stdout) as LinkInfo[]
  } catch (cause) {
    throw new StackError(
      'ERR_HUB_UNKNOWN',
      `${command} cannot tell whether the bridge of ${tap} works as a hub (${(cause as Error).message.trim()}): install it with \`apt-get install iproute2\`, ${OVERRIDE}`,
      { cause },
    )
  }
  const fault = hubFault(links, tap)
  if (fault !== null) throw new StackError('ERR_BRIDGE_NOT_HUB', fault)
}

/** What is wrong with the bridge of `tap`, with the command that mends it; null: nothing, or it is no port of a bridge. */
export function hubFault(links: readonly LinkInfo[], tap: string): string | null {
  const bridge = links.find((link) => link.ifname === tap)?.master
  const info = links.find((link) => link.ifname === bridge)?.linkinfo
  if (bridge === undefined || info?.info_kind !== 'bridge') return null
  const { ageing_time: ageing = 0, mcast_snooping: snooping = 0 } = info.info_data ?? {}
  if (ageing === 0 && snooping === 0) return null
  const faults: string[] = []
  if (ageing !== 0) faults.push(`learns addresses (ageing_time ${ageing})`)
  if (snooping !== 0) faults.push(`filters multicast (mcast_snooping ${snooping})`)
  return `the bridge ${bridge}, of which ${tap} is a port, ${faults.join(' and ')}, so that nodes do not hear what is meant for the owner: type \`ip link set ${bridge} type bridge ageing_time 0 mcast_snooping 0\`, ${OVERRIDE}`
}
