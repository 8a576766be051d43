/**
 * The configuration of a node: a JSON file, checked field by field, so that an error names the file, the line, the field, its value
 * and the fix.
 */
import * as fs from 'node:fs'
import { dirname, resolve } from 'node:path'
import {
  type IpAddress,
  type MacAddress,
  parseIpAddress,
  parseMacAddress,
  StackError,
} from '../../stack/index.js'
import { type Binding, type NodeId, parseBinding } from '../binding.js'
import { BindingTable } from '../binding-table.js'
import { DoubtfulData } from '../declaration.js'
import {
  type FailoverPolicy,
  master,
  orderedList,
  policyNamed,
  policyNames,
  smallestId,
} from '../failover-policy.js'
import { DEFAULT_TIMING, type NodeTiming, type PermanencySet } from '../node.js'
import { MAX_BINDINGS } from '../peers.js'
import type { ProxyHeader } from '../proxy-header.js'
import { choice, type Fail, type Fields, flag, integer, show, text } from './config-fields.js'
import { JsonSource } from './json-source.js'
import type { OperatorAddress } from './operator-server.js'
import { checkRouters } from './router-config.js'
import { checkMacs, checkQuorum, checkRecovery, checkStrict, withArp } from './set-config.js'

/** How a peer on this host is silenced before its address is taken. */
export type FenceMode = 'port' | 'kill' | 'none'

/** Whether a node makes sure at its start that the bridge of its TAP works as a hub. */
export type HubMode = 'checked' | 'unchecked'

/** The application that a node runs, with its settings. */
export interface AppConfig {
  readonly name: string
  readonly port: number
  /** Folder of the file server, or of the database's data. */
  readonly root?: string
  /** Where the proxy leads its clients, `HOST:PORT`. */
  readonly to?: string
  /** Clients of the proxy at once. */
  readonly maxConnections?: number
  /** How long the proxy's server may take to answer. */
  readonly connectMs?: number
  /** How long nothing may go by between a client of the proxy and its server; 0: for ever. */
  readonly idleMs?: number
  /** Which header tells the proxy's server who the client is; none when left out. */
  readonly proxyProtocol?: ProxyHeader
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
  /** The device completes checksums and cuts super-frames (T8). */
  readonly offload: boolean
  /** Those that lead to clients beyond the link, the preferred one first (P12). */
  readonly routers: readonly IpAddress[]
  /** Frames to other stations than nodes and routers are left unread (P12). */
  readonly macFilter: boolean
  /** What this node may own, each with an id of its own, and on what terms. */
  readonly sets: readonly PermanencySet[]
  /** The bindings of `sets`. */
  readonly bindings: readonly Binding[]
  /** Where the control channel listens, an IPv4 address. */
  readonly controlHost: string
  /** Folder of this node's mirror. */
  readonly storeDir: string
  /** Folder of the checkpoints, which all nodes share. */
  readonly sharedDir: string
  readonly app: AppConfig | null
  readonly fence: FenceMode
  /** The command that silences a node on another host, `{node}` in it is its id; null: its lease must run out. */
  readonly fenceCommand: readonly string[] | null
  readonly hub: HubMode
  /** File to which everything that the link carries is written, in pcapng; null: none. */
  readonly record: string | null
  /** Where the page, the status and the metrics are served; null: nowhere. */
  readonly operator: OperatorAddress | null
  readonly timing: NodeTiming
}

/** Every field there is: a slip in a name must not pass for a default. */
export const FIELDS = {
  '': [
    'id',
    'cluster',
    'keyFile',
    'tap',
    'mac',
    'offload',
    'routers',
    'macFilter',
    'binding',
    'bindings',
    'control',
    'storeDir',
    'sharedDir',
    'app',
    'fence',
    'fenceCommand',
    'hub',
    'record',
    'operator',
    'timing',
  ],
  binding: [
    'id',
    'address',
    'ports',
    'policy',
    'set',
    'doubtful',
    'recovery',
    'strict',
    'arp',
    'mac',
    'routersMac',
    'quorum',
  ],
  control: ['host'],
  app: ['name', 'port', 'root', 'to', 'maxConnections', 'connectMs', 'idleMs', 'proxyProtocol'],
  operator: ['host', 'port', 'socket'],
  timing: Object.keys(DEFAULT_TIMING),
} as const

/** Reads and checks a configuration file; paths in it are relative to it. Throws ERR_CONFIG. */
export function readNodeConfig(file: string): NodeConfig {
  const source = readSource(file)
  const place = (field: string) => `${file}:${source.lineOf(field)}`
  return check(source.value, place, dirname(resolve(file)))
}

/** Where `field` stands: `FILE:LINE`. Throws ERR_CONFIG as `readNodeConfig` does. */
export function placeInConfig(file: string, field: string): string {
  return `${file}:${readSource(file).lineOf(field)}`
}

function readSource(file: string): JsonSource {
  let text: string
  try {
    text = fs.readFileSync(file, 'utf8')
  } catch (error) {
    throw new StackError(
      'ERR_CONFIG',
      `${file}: cannot be read (${(error as Error).message}); name a file that this user may read`,
    )
  }
  return new JsonSource(text, file)
}

/**
 * Checks a configuration that is an object already. `source` names it in errors, `folder` is where relative paths start.
 * Throws ERR_CONFIG with source, field, value and what to write instead.
 */
export function checkNodeConfig(value: unknown, source: string, folder: string): NodeConfig {
  return check(value, () => source, folder)
}

// `place` says where a field stands.
function check(value: unknown, place: (field: string) => string, folder: string): NodeConfig {
  const fail: Fail = (field, what) => {
    const named = field === '' ? '' : `${field}: `
    throw new StackError('ERR_CONFIG', `${place(field)}: ${named}${what}`)
  }
  const fields = section(value, '', fail)
  const control = section(fields.control ?? {}, 'control', fail)
  const path = (field: string, example: string): string =>
    resolve(folder, text(fields, field, example, fail))
  const host = String(control.host ?? '127.0.0.1')
  read(() => parseIpAddress(host, 'control.host'), 'control.host', fail)
  const id = integer(fields, 'id', 1, 0xffff_ffff, 'an integer, different on each node,', fail)
  const sets = checkSets(fields, id, fail)
  const bindings = sets.map(({ binding }) => binding)
  return {
    id,
    cluster: text(fields, 'cluster', 'main', fail),
    keyFile: path('keyFile', 'cluster.key'),
    tap: text(fields, 'tap', 'us0', fail),
    mac:
      fields.mac === undefined
        ? null
        : read(() => parseMacAddress(String(fields.mac), 'mac'), 'mac', fail),
    offload: flag(fields, 'offload', true, fail),
    ...checkRouters(fields, bindings, fail),
    sets,
    bindings,
    controlHost: host,
    storeDir: path('storeDir', 'mirror'),
    sharedDir: path('sharedDir', 'shared'),
    app: checkApp(fields.app, folder, fail),
    fence: choice(fields, 'fence', ['port', 'kill', 'none'], fail),
    fenceCommand:
      fields.fenceCommand === undefined ? null : checkCommand(fields.fenceCommand, fail),
    hub: choice(fields, 'hub', ['checked', 'unchecked'], fail),
    record: fields.record === undefined ? null : path('record', 'node1.pcapng'),
    operator: checkOperator(fields.operator, folder, fail),
    timing: checkTiming(fields.timing ?? {}, fail),
  }
}

// A program with its arguments, of which one says whom it is to silence.
function checkCommand(value: unknown, fail: Fail): readonly string[] {
  const valid = (part: unknown): boolean => typeof part === 'string' && part !== ''
  const field = 'fenceCommand'
  if (!Array.isArray(value) || value.length === 0 || !value.every(valid)) {
    const example = '["/usr/local/sbin/fence-node", "{node}"]'
    return fail(field, `must be a program and its arguments, as ${example}, not ${show(value)}`)
  }
  if (value.some((part: string) => part.includes('{node}'))) return value as string[]
  return fail(field, `${show(value)} does not say which node: write {node} where its id belongs`)
}

// What another module reads: its error names the field already, or is about `field`.
function read<T>(parse: () => T, field: string, fail: Fail): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof StackError) || error.code === 'ERR_CONFIG') throw error
    const [, named = field, what = error.message] = /^([\w.]+): (.*)$/s.exec(error.message) ?? []
    return fail(field.startsWith(named) ? field : named, what)
  }
}

// One binding as `binding`, or several as `bindings`: those of whose sets node `id` is.
function checkSets(fields: Fields, id: NodeId, fail: Fail): PermanencySet[] {
  const list = listOfBindings(fields, fail)
  const sets = list.map(({ value, at }, i) => checkSet(value, i + 1, at, fail))
  const table = new BindingTable<Binding>()
  for (const [i, { binding }] of sets.entries()) {
    const { at } = list[i] as Place
    if (sets.findIndex((other) => other.binding.id === binding.id) !== i) {
      fail(`${at}.id`, `${binding.id} is another binding's id; give each its own`)
    }
    read(() => table.add(binding, binding), at, fail)
  }
  const shared = sets.map((set, i) => withArp(set, sets, (list[i] as Place).at, fail))
  const own = shared.filter(({ members }) => members === undefined || members.includes(id))
  const beside = shared.filter((set) => !own.includes(set)).map(({ binding }) => binding)
  if (own.length > 0) {
    return own.map((set) => {
      const others = beside.filter(({ address }) => address === set.binding.address)
      return others.length > 0 ? { ...set, beside: others } : set
    })
  }
  return fail(`${list[0]?.at}.set`, `node ${id} is in the set of no binding, and has nothing to do`)
}

interface Place {
  readonly value: unknown
  readonly at: string
}

function listOfBindings(fields: Fields, fail: Fail): Place[] {
  if (fields.bindings === undefined) return [{ value: fields.binding ?? {}, at: 'binding' }]
  if (fields.binding !== undefined) {
    fail('binding', 'give either "binding" or "bindings", not both')
  }
  const list = fields.bindings
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_BINDINGS) {
    return fail('bindings', `must be a list of 1 to ${MAX_BINDINGS} bindings, not ${show(list)}`)
  }
  return list.map((value: unknown, i) => ({ value, at: `bindings[${i}]` }))
}

function checkSet(value: unknown, id: number, where: string, fail: Fail): PermanencySet {
  const failHere: Fail = (field, what) => fail(field.replace(/^binding/, where), what)
  const fields = section(value, 'binding', failHere)
  const address = text(fields, 'address', '10.77.0.100/24', failHere, 'binding.')
  const ports = fields.ports ?? '1-65535'
  if (typeof ports !== 'string' && typeof ports !== 'number') {
    failHere('binding.ports', `${show(ports)} is no range of ports; write "80" or "1-65535"`)
  }
  const own =
    fields.id === undefined
      ? id
      : integer(fields, 'id', 1, 65_535, 'the same number on each node,', failHere, 'binding.')
  const doubtful = choice(fields, 'doubtful', ['deliver', 'drop'], failHere, 'binding.')
  const policy = checkPolicy(fields.policy, failHere)
  const recovery = choice(fields, 'recovery', ['stay', 'return'], failHere, 'binding.')
  if (recovery === 'return') checkRecovery(policy, fields.strict, failHere)
  const failArp: Fail = (field, what) => failHere(`binding.${field}`, what)
  const members =
    fields.set === undefined ? undefined : nodeIds(fields.set, 'binding.set', failHere)
  return {
    binding: read(() => parseBinding(own, address, String(ports)), where, failHere),
    policy,
    recovery,
    ...(flag(fields, 'arp', false, failArp) && { arp: 'here' as const }),
    doubtful: doubtful === 'drop' ? DoubtfulData.DROP : DoubtfulData.DELIVER,
    ...checkMacs(fields, failHere),
    ...(members !== undefined && { members }),
    ...(fields.strict !== undefined && { strict: checkStrict(fields.strict, members, failHere) }),
    ...(fields.quorum !== undefined && { quorum: checkQuorum(fields.quorum, members, failHere) }),
  }
}

function nodeIds(value: unknown, field: string, fail: Fail): NodeId[] {
  const valid = (id: unknown): boolean =>
    Number.isInteger(id) && (id as number) >= 1 && (id as number) <= 0xffff_ffff
  if (Array.isArray(value) && value.length > 0 && value.every(valid)) {
    if (new Set(value).size === value.length) return value as NodeId[]
    return fail(field, `${show(value)} names a node twice`)
  }
  return fail(field, `must be a list of node ids, as [1, 2, 3], not ${show(value)}`)
}

// By name, or with what it depends on: { "ordered": [2, 1] }, { "master": 1, "by": "spread" }.
function checkPolicy(value: unknown, fail: Fail): FailoverPolicy {
  const field = 'binding.policy'
  if (value === undefined) return smallestId
  if (typeof value === 'string') return byName(value, field, fail)
  const wanted = `${policyNames().join(', ')}, { "ordered": [2, 1] } or { "master": 1 }`
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return fail(field, `must be one of ${wanted}, not ${show(value)}`)
  }
  const known = ['ordered', 'master', 'by']
  const unknown = Object.keys(value).find((each) => !known.includes(each))
  const { ordered, master: by, by: inner } = value as Fields
  if (unknown !== undefined || (ordered === undefined) === (by === undefined)) {
    return fail(field, `must be one of ${wanted}, not ${show(value)}`)
  }
  if (ordered !== undefined) return orderedList(nodeIds(ordered, `${field}.ordered`, fail))
  const [id = 0] = nodeIds([by], `${field}.master`, fail)
  if (inner === undefined) return master(id)
  return typeof inner === 'string'
    ? master(id, byName(inner, `${field}.by`, fail))
    : fail(`${field}.by`, `must be one of ${policyNames().join(', ')}, not ${show(inner)}`)
}

function byName(name: string, field: string, fail: Fail): FailoverPolicy {
  const found = policyNamed(name)
  if (found !== undefined) return found
  return fail(
    field,
    `'${name}' is no policy that this program knows; there are ${policyNames().join(', ')}. A program that adds one of its own calls namePolicy() before it reads the configuration`,
  )
}

/** The object `value` with no other fields than those of its section. */
function section(value: unknown, name: keyof typeof FIELDS, fail: Fail): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return fail(name, `must be an object, not ${show(value)}`)
  }
  const known: readonly string[] = FIELDS[name]
  const unknown = Object.keys(value).find((field) => !known.includes(field))
  if (unknown === undefined) return value as Fields
  const where = name === '' ? unknown : `${name}.${unknown}`
  return fail(where, `there is no such field; there are ${known.join(', ')}`)
}

function checkTiming(value: unknown, fail: Fail): NodeTiming {
  const timing = { ...DEFAULT_TIMING, ...section(value, 'timing', fail) } as NodeTiming
  for (const [field, span] of Object.entries(timing)) {
    if (typeof span === 'number' && span > 0 && span <= 3_600_000) continue
    fail(`timing.${field}`, `must be milliseconds from 1 to 3600000, not ${show(span)}`)
  }
  const { leaseMs, silenceMs, turnLeaseMs, stuckMs } = timing
  // Otherwise two nodes could speak at once.
  if (leaseMs > silenceMs) {
    fail('timing.leaseMs', `must be at most silenceMs (${silenceMs}), not ${leaseMs}`)
  }
  if (turnLeaseMs > stuckMs) {
    fail('timing.turnLeaseMs', `must be at most stuckMs (${stuckMs}), not ${turnLeaseMs}`)
  }
  return timing
}

function checkApp(value: unknown, folder: string, fail: Fail): AppConfig | null {
  if (value === undefined || value === null) return null
  const fields = section(value, 'app', fail)
  const name = text(fields, 'name', 'http', fail, 'app.')
  const port = integer(fields, 'port', 1, 65_535, 'a port', fail, 'app.')
  const limit = (field: string, least: number): number =>
    integer(fields, field, least, 2 ** 31 - 1, 'an integer', fail, 'app.')
  return {
    name,
    port,
    ...(fields.root !== undefined && {
      root: resolve(folder, text(fields, 'root', 'www', fail, 'app.')),
    }),
    ...(fields.to !== undefined && { to: text(fields, 'to', '10.77.0.50:5432', fail, 'app.') }),
    ...(fields.maxConnections !== undefined && { maxConnections: limit('maxConnections', 1) }),
    ...(fields.connectMs !== undefined && { connectMs: limit('connectMs', 1) }),
    ...(fields.idleMs !== undefined && { idleMs: limit('idleMs', 0) }),
    ...(fields.proxyProtocol !== undefined && {
      proxyProtocol: choice(fields, 'proxyProtocol', ['v1', 'v2'], fail, 'app.'),
    }),
  }
}

function checkOperator(value: unknown, folder: string, fail: Fail): OperatorAddress | null {
  if (value === undefined || value === null) return null
  const fields = section(value, 'operator', fail)
  if (fields.socket !== undefined) {
    if (fields.port !== undefined || fields.host !== undefined) {
      fail('operator.socket', 'goes without host and port: choose one of the two')
    }
    const path = resolve(folder, text(fields, 'socket', 'operator.sock', fail, 'operator.'))
    // sun_path of Linux holds so many octets, one of them the end.
    if (Buffer.byteLength(path) > 107) {
      fail('operator.socket', `${show(path)} is longer than the 107 octets of a socket's path`)
    }
    return { socket: path }
  }
  const host =
    fields.host === undefined ? '127.0.0.1' : text(fields, 'host', '127.0.0.1', fail, 'operator.')
  return {
    host,
    port: integer(fields, 'port', 0, 65_535, 'a port, or 0 for any free one,', fail, 'operator.'),
  }
}
