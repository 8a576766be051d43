/**
 * The face of the stack for applications: what `node:net` exports, over this stack. `createNet(host)` binds it to a stack
 * with an event loop; what this module exports by itself is bound to a network in memory, made on first use.
 */
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import { type ConnectOptions, connectArguments } from './connect-arguments.js'
import type { StackHost } from './host.js'
import { type Loopback, newLoopback } from './loopback.js'
import { Server as BaseServer, type ConnectionListener, type ServerOptions } from './server.js'
import { Socket as BaseSocket, type SocketOptions } from './socket.js'

export { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
export type { ConnectOptions, ListenOptions } from './connect-arguments.js'
export type { SocketAddress } from './endpoint.js'
export type { SocketError } from './errors.js'
export type { AddressNames, CheckpointPort, StackHost } from './host.js'
export type { ConnectionListener, DropArgument, ServerOptions } from './server.js'
export type { SocketOptions } from './socket.js'

/** All options of a socket and of its connection. */
export type CreateConnectionOptions = SocketOptions & ConnectOptions

/** What `node:net` exports, bound to one network. */
export interface Net {
  readonly Socket: new (options?: SocketOptions) => BaseSocket
  readonly Stream: Net['Socket']
  readonly Server: new (
    options?: ServerOptions | ConnectionListener,
    listener?: ConnectionListener,
  ) => BaseServer
  /** A server; `listener` hears its `connection` events. */
  createServer(options: ServerOptions, listener?: ConnectionListener): BaseServer
  createServer(listener?: ConnectionListener): BaseServer
  /** Opens a connection; `listener` hears `connect`. */
  connect(options: CreateConnectionOptions, listener?: () => void): BaseSocket
  connect(port: number | string, host: string, listener?: () => void): BaseSocket
  connect(port: number | string, listener?: () => void): BaseSocket
  readonly createConnection: Net['connect']
  readonly isIP: typeof isIP
  readonly isIPv4: typeof isIPv4
  readonly isIPv6: typeof isIPv6
  readonly BlockList: typeof BlockList
}

interface Ends {
  readonly server: StackHost
  readonly client: StackHost
}

/**
 * A `net` on `host`: sockets and servers of that stack. Without a host, on a network in memory of its own, where servers
 * listen on 127.0.0.1 and clients of the same `net` reach them.
 */
export function createNet(host?: StackHost): Net {
  if (host !== undefined) {
    const ends: Ends = { server: host, client: host }
    return bind(() => ends)
  }
  let loopback: Loopback | null = null
  return bind(() => {
    loopback ??= newLoopback()
    return loopback
  })
}

function bind(ends: () => Ends): Net {
  const client = () => ends().client
  const server = () => ends().server

  class Socket extends BaseSocket {
    constructor(options: SocketOptions = {}) {
      super(client, options)
    }

    // A server's sockets are sockets, too.
    static override [Symbol.hasInstance](value: unknown): boolean {
      return value instanceof BaseSocket
    }
  }

  class Server extends BaseServer {
    constructor(options?: ServerOptions | ConnectionListener, listener?: ConnectionListener) {
      super(server, options, listener)
    }
  }

  function createServer(
    options?: ServerOptions | ConnectionListener,
    listener?: ConnectionListener,
  ): BaseServer {
    return new Server(options, listener)
  }

  function connect(...args: unknown[]): BaseSocket {
    const [options] = connectArguments<CreateConnectionOptions>(args)
    return new Socket(options).connect(...args)
  }

  return {
    Socket,
    Stream: Socket,
    Server,
    createServer,
    connect,
    createConnection: connect,
    isIP,
    isIPv4,
    isIPv6,
    BlockList,
  }
}

const net: Net = createNet()

export const Socket: Net['Socket'] = net.Socket
export const Stream: Net['Socket'] = net.Stream
export const Server: Net['Server'] = net.Server
export const createServer: Net['createServer'] = net.createServer
export const connect: Net['connect'] = net.connect
export const createConnection: Net['connect'] = net.createConnection
export type Socket = BaseSocket
export type Server = BaseServer

const everything: Net & { readonly createNet: typeof createNet } = { ...net, createNet }
export default everything
