/**
 * The configuration of a node: a JSON file, checked field by field, so that an error names the file, the field and the fix.
 */
import * as fs from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type MacAddress, parseMacAddress, StackError } from '../../stack/index.js'
import { type Binding, parseBinding } from '../binding.js'
import { DEFAULT_TIMING, type NodeTiming } from '../node.js'

/** How a peer on this host is silenced before its address is taken. */
export type FenceMode = 'port' | 'kill' | 'none'

/** The application that a node runs, with its settings. */
export interface AppConfig {
  readonly name: string
  readonly port: number
  /** Folder of the file server. */
  readonly root?: string
}

export interface NodeConfig {
  /** Cluster-node id: 1 .. 2^32 - 1. The smallest that is up owns the binding. */
  readonly id: number
  /** Name of the cluster: keeps several on one link apart. */
  readonly cluster: string
  /** File with the cluster's key. */
  readonly keyFile: string
  /** TAP device to attach to. */
  readonly tap: string
  /** Ethernet address of the stack on it; derived from the device's when absent. */
  readonly mac: MacAddress | null
  readonly binding: Binding
  /** Where the control channel listens, an IPv4 address. */
  readonly controlHost: string
  /** Folder of this node's mirror. */
  readonly storeDir: string
  /** Folder of the checkpoints, which all nodes share. */
  readonly sharedDir: string
  readonly app: AppConfig | null
  readonly fence: FenceMode
  readonly timing: NodeTiming
}

type Fields = Readonly<Record<string, unknown>>

/** Reads and checks a configuration file; paths in it are relative to it. Throws ERR_CONFIG. */
export function readNodeConfig(file: string): NodeConfig {
  let text: string
  try {
    text = fs.readFileSync(file, 'utf8')
  } catch (error) {
    throw new StackError('ERR_CONFIG', `${file}: cannot be read (${(error as Error).message})`)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new StackError('ERR_CONFIG', `${file}: is not JSON (${(error as Error).message})`)
  }
  return checkNodeConfig(value, file, dirname(resolve(file)))
}

/** Checks a configuration that is an object already. `source` names it in errors, `folder` is where relative paths start. */
export function checkNodeConfig(value: unknown, source: string, folder: string): NodeConfig {
  const fail = (field: string, what: string): never => {
    throw new StackError('ERR_CONFIG', `${source}: ${field}: ${what}`)
  }
  if (typeof value !== 'object' || value === null) fail('(top)', 'must be an object')
  const fields = value as Fields
  const text = (field: string, example: string): string => {
    const found = fields[field]
    if (typeof found === 'string' && found !== '') return found
    return fail(field, `must be a text, as "${example}"`)
  }
  const id = fields.id
  if (!Number.isInteger(id) || (id as number) < 1 || (id as number) > 0xffff_ffff) {
    fail('id', 'must be an integer from 1 to 4294967295, different on each node')
  }
  const binding = (fields.binding ?? {}) as Fields
  if (typeof binding.address !== 'string') {
    fail('binding.address', 'must be the virtual address with its prefix, as "10.77.0.100/24"')
  }
  const control = (fields.control ?? {}) as Fields
  const fence = fields.fence ?? 'port'
  if (fence !== 'port' && fence !== 'kill' && fence !== 'none') {
    fail('fence', 'must be "port", "kill" or "none"')
  }
  try {
    return {
      id: id as number,
      cluster: text('cluster', 'main'),
      keyFile: resolve(folder, text('keyFile', 'cluster.key')),
      tap: text('tap', 'us0'),
      mac: fields.mac === undefined ? null : parseMacAddress(String(fields.mac), 'mac'),
      binding: parseBinding(1, binding.address as string, String(binding.ports ?? '1-65535')),
      controlHost: String(control.host ?? '127.0.0.1'),
      storeDir: resolve(folder, text('storeDir', 'mirror')),
      sharedDir: resolve(folder, text('sharedDir', 'shared')),
      app: checkApp(fields.app, folder, fail),
      fence: fence as FenceMode,
      timing: { ...DEFAULT_TIMING, ...((fields.timing ?? {}) as Partial<NodeTiming>) },
    }
  } catch (error) {
    if (error instanceof StackError && error.code !== 'ERR_CONFIG') {
      throw new StackError('ERR_CONFIG', `${source}: ${error.message}`, { cause: error })
    }
    throw error
  }
}

function checkApp(
  value: unknown,
  folder: string,
  fail: (field: string, what: string) => never,
): AppConfig | null {
  if (value === undefined || value === null) return null
  const { name, port, root } = value as Fields
  if (typeof name !== 'string') fail('app.name', 'must be a text, as "http"')
  if (!Number.isInteger(port) || (port as number) < 1 || (port as number) > 65_535) {
    fail('app.port', 'must be a port from 1 to 65535')
  }
  return {
    name: name as string,
    port: port as number,
    ...(typeof root === 'string' ? { root: resolve(folder, root) } : {}),
  }
}
