/** What a lab is to be, before any of it is made: names, addresses, and what is joined to what. */
import { StackError } from '../../stack/base/errors.js'
import type { LabOptions } from './lab.js'
import { portOf } from './lab-app.js'
import type { LabRecord } from './lab-file.js'
import { bootId, identify, type ProcessIdentity } from './process-table.js'
import type { Space } from './space.js'

/** Throws ERR_LAB_NO_PRIVILEGE when this process cannot be named. */
export function describeLab(
  id: string,
  folder: string,
  options: LabOptions,
  space: Space,
): LabRecord {
  const owner: ProcessIdentity | undefined = identify(process.pid)
  if (owner === undefined) throw new StackError('ERR_LAB_NO_PRIVILEGE', '/proc is not mounted.')
  const base = `us${id}`
  const six = options.ipv6 === true
  const shares = options.shares ?? ['1-65535']
  const bridges = shares.map((_, index) => (index === 0 ? `${base}-br` : `${base}-br${index + 1}`))
  const routers = Array.from({ length: options.routers ?? 0 }, (_, index) => ({
    namespace: `${base}-r${index + 1}`,
    address: six ? `fd77::${index + 1}/64` : `10.77.0.${index + 1}/24`,
    outerAddress: six ? `fd78::${index + 1}/64` : `10.78.0.${index + 1}/24`,
  }))
  const outer = routers.length > 0
  const nodes = Array.from({ length: options.nodes }, (_, index) => ({
    id: index + 1,
    tap: `${base}-tap${index + 1}`,
    mac: `02:75:73:00:00:${(index + 1).toString(16).padStart(2, '0')}`,
    bridge: bridges[index % bridges.length] ?? '',
  }))
  const clients = Array.from({ length: options.clients ?? 1 }, (_, index) => ({
    namespace: index === 0 ? `${base}-client` : `${base}-client${index + 1}`,
    address: six
      ? `fd${outer ? 78 : 77}::${9 + index}/64`
      : `10.${outer ? 78 : 77}.0.${9 + index}/24`,
    port: `${base}-c${index + 1}`,
  }))
  return {
    id,
    createdAt: new Date().toISOString(),
    bootId: bootId(),
    mode: space.mode,
    owner,
    ...(space.holder === undefined ? {} : { holder: space.holder }),
    folder,
    scratch: [...(options.scratch ?? [])],
    switchNamespace: `${base}-switch`,
    bridges,
    shares,
    learning: options.learning === true,
    outerBridge: outer ? `${base}-out` : null,
    routers,
    monitorTap: `${base}-mon`,
    address: six ? 'fd77::100/64' : '10.77.0.100/24',
    port: portOf(options.app, options.to),
    app: options.app,
    root: options.root ?? null,
    clients,
    nodes,
  }
}
