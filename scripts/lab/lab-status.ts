/**
 * What a lab tells about itself, as `understudy lab up --json` and `lab status --json` print it, and the commands that
 * another process may give to its keeper.
 */
import { createConnection } from 'node:net'
import { StackError } from '../../stack/base/errors.js'
import type { Lab, NodeStatus } from './lab.js'
import { controlSocket, type LabRecord } from './lab-file.js'
import type { WireCounts } from './network.js'

export interface LabStatus {
  readonly lab: string
  readonly mode: 'root' | 'user'
  readonly folder: string
  /** The process that keeps the lab. */
  readonly keeper: number
  /** The process whose user and mount namespaces hold the lab's; null when they are the host's. */
  readonly holder: number | null
  readonly namespaces: {
    readonly switch: string
    readonly client: string
    readonly clients: string[]
    readonly routers: string[]
  }
  readonly interfaces: {
    readonly bridge: string
    readonly taps: string[]
    readonly monitor: string
    readonly client: string
    readonly clientPort: string
  }
  readonly address: string
  readonly port: number
  readonly url: string
  /** The live page, for a browser on this host; null where it could not be served. */
  readonly page: string | null
  readonly clientAddress: string
  readonly app: string
  readonly root: string | null
  readonly owner: number | null
  readonly nodes: NodeStatus[]
  /** Null where nft is missing. */
  readonly wire: WireCounts | null
}

/** `node` is a number, or "owner". */
export interface NodeCommand {
  readonly verb: 'kill' | 'stop' | 'cont' | 'start' | 'switchover'
  readonly node: string
}

export type Command = NodeCommand | { readonly verb: 'status' } | { readonly verb: 'down' }

export function describe(lab: Lab, page: string | null): LabStatus {
  const { record } = lab
  const [client] = record.clients
  return {
    lab: record.id,
    mode: record.mode,
    folder: record.folder,
    keeper: record.owner.pid,
    holder: record.holder?.pid ?? null,
    namespaces: {
      switch: record.switchNamespace,
      client: client?.namespace ?? '',
      clients: record.clients.map((each) => each.namespace),
      routers: record.routers.map((each) => each.namespace),
    },
    interfaces: {
      bridge: record.bridges[0] ?? '',
      taps: record.nodes.map((node) => node.tap),
      monitor: record.monitorTap,
      client: 'eth0',
      clientPort: client?.port ?? '',
    },
    address: record.address.split('/')[0] ?? '',
    port: record.port,
    url: lab.url,
    page,
    clientAddress: client?.address.split('/')[0] ?? '',
    app: record.app,
    root: record.app === 'http' ? lab.root : null,
    owner: lab.owner ?? null,
    nodes: lab.status(),
    wire: lab.wireCounts() ?? null,
  }
}

/** Gives `command` to the keeper of `record`; resolves with the lab's state after it, or null after `down`. */
export function command(record: LabRecord, command: Command): Promise<LabStatus | null> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(controlSocket(record))
    let text = ''
    socket.setEncoding('utf8')
    socket.once('connect', () => socket.write(`${JSON.stringify(command)}\n`))
    socket.on('data', (chunk: string) => {
      text += chunk
    })
    socket.once('error', () => reject(deaf(record)))
    socket.once('end', () => {
      if (text === '') return reject(deaf(record))
      const reply = JSON.parse(text) as {
        lab?: LabStatus
        error?: { code: string; message: string }
      }
      if (reply.error !== undefined) reject(new StackError(reply.error.code, reply.error.message))
      else resolve(reply.lab ?? null)
    })
  })
}

function deaf(record: LabRecord): StackError {
  return new StackError(
    'ERR_LAB_BUSY',
    `lab ${record.id} takes no commands: process ${record.owner.pid} is still starting it, or it belongs to a demo or test.`,
  )
}
