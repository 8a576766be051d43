/**
 * The face of the stack for applications: what `node:net` exports, over this stack. `createNet(host)` binds it to a stack
 * with an event loop; what this module exports by itself is bound to a network in memory, made on first use.
 */
import type { EventEmitter } from 'node:events'
import kernel, {
  BlockList,
  getDefaultAutoSelectFamily,
  getDefaultAutoSelectFamilyAttemptTimeout,
  isIP,
  isIPv4,
  isIPv6,
  SocketAddress,
  setDefaultAutoSelectFamily,
  setDefaultAutoSelectFamilyAttemptTimeout,
} from 'node:net'
import type { Duplex } from 'node:stream'
import type { Connection } from '../tcp/connection.js'
import { type ConnectOptions, connectArguments, normalizeArgs } from './connect-arguments.js'
import { isHandled, isHandledSocket, makeHandled } from './handled-socket.js'
import type { StackHost } from './host.js'
import { type Loopback, newLoopback } from './loopback.js'
import {
  Server as BaseServer,
  type ConnectionListener,
  type ServerOptions,
  type SocketMaker,
} from './server.js'
import { Socket as BaseSocket, type SocketOptions } from './socket.js'

export {
  BlockList,
  getDefaultAutoSelectFamily,
  getDefaultAutoSelectFamilyAttemptTimeout,
  isIP,
  isIPv4,
  isIPv6,
  SocketAddress,
  setDefaultAutoSelectFamily,
  setDefaultAutoSelectFamilyAttemptTimeout,
} from 'node:net'
export type { ConnectOptions, ListenOptions } from './connect-arguments.js'
export type { SocketAddress as Address } from './endpoint.js'
export type { SocketError } from './errors.js'
export type { AddressNames, CheckpointPort, StackHost } from './host.js'
export type { ConnectionListener, DropArgument, ServerOptions } from './server.js'
export type { SocketOptions } from './socket.js'

/** All options of a socket and of its connection. */
export type CreateConnectionOptions = SocketOptions & ConnectOptions

/** A constructor that is a function, too, as those of `node:net` are: without `new`, and with `this` for a base. */
export interface SocketConstructor {
  new (options?: SocketOptions): BaseSocket
  (options?: SocketOptions): BaseSocket
  readonly prototype: BaseSocket
}

export interface ServerConstructor {
  new (options?: ServerOptions | ConnectionListener, listener?: ConnectionListener): BaseServer
  (options?: ServerOptions | ConnectionListener, listener?: ConnectionListener): BaseServer
  readonly prototype: BaseServer
}

// Taken once: a program may put this module in the place of Node's, and what is the kernel's must stay with it.
const KernelServer = kernel.Server
const connectKernel = kernel.connect

// What has nothing to do with a network is Node's own.
const INDEPENDENT = {
  isIP,
  isIPv4,
  isIPv6,
  getDefaultAutoSelectFamily,
  setDefaultAutoSelectFamily,
  getDefaultAutoSelectFamilyAttemptTimeout,
  setDefaultAutoSelectFamilyAttemptTimeout,
  _normalizeArgs: normalizeArgs,
  _setSimultaneousAccepts: (kernel as unknown as { _setSimultaneousAccepts: () => void })
    ._setSimultaneousAccepts,
} as const

// Not to be enumerated: with Node they are getters, and a program that assigns all of this to Node's own would fail there.
const CLASSES = { BlockList, SocketAddress } as const

/** What `node:net` exports, bound to one network. */
export interface Net extends Readonly<typeof INDEPENDENT>, Readonly<typeof CLASSES> {
  readonly Socket: SocketConstructor
  readonly Stream: SocketConstructor
  readonly Server: ServerConstructor
  /** A server; `listener` hears its `connection` events. */
  createServer(options: ServerOptions, listener?: ConnectionListener): BaseServer
  createServer(listener?: ConnectionListener): BaseServer
  /** Opens a connection; `listener` hears `connect`. With a `path` it is one of the kernel's Unix sockets. */
  connect(options: CreateConnectionOptions, listener?: () => void): BaseSocket
  connect(port: number | string, host: string, listener?: () => void): BaseSocket
  connect(port: number | string, listener?: () => void): BaseSocket
  readonly createConnection: Net['connect']
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

/** A connection that a server's stack has accepted. */
interface Accepted {
  readonly host: () => StackHost
  readonly connection: Connection
}

function bind(ends: () => Ends): Net {
  const client = () => ends().client
  const Socket = socketConstructor(client)
  const server = () => ends().server
  const accept: SocketMaker = (options, connection) =>
    Reflect.construct(Socket, [options, { host: server, connection }]) as BaseSocket
  const Server = serverConstructor(server, accept)

  function createServer(
    options?: ServerOptions | ConnectionListener,
    listener?: ConnectionListener,
  ): BaseServer {
    return new Server(options, listener)
  }

  function connect(...args: unknown[]): BaseSocket {
    const [options] = connectArguments<CreateConnectionOptions>(args)
    if (options.path) return Reflect.apply(connectKernel, undefined, args) as unknown as BaseSocket
    const socket = new Socket(options)
    if (options.timeout) socket.setTimeout(options.timeout)
    return socket.connect(normalizeArgs(args))
  }

  return withClasses({
    Socket,
    Stream: Socket,
    Server,
    createServer,
    connect,
    createConnection: connect,
    ...INDEPENDENT,
  })
}

function withClasses<T extends object>(exported: T): T & Readonly<typeof CLASSES> {
  for (const [name, value] of Object.entries(CLASSES)) {
    Object.defineProperty(exported, name, { value, writable: true, configurable: true })
  }
  return exported as T & Readonly<typeof CLASSES>
}

function socketConstructor(client: () => StackHost): SocketConstructor {
  class NetSocket extends BaseSocket {
    constructor(options?: SocketOptions, accepted?: Accepted, target?: Duplex) {
      super(accepted?.host ?? client, options, accepted?.connection, target)
    }
  }
  function Socket(this: unknown, options?: SocketOptions, accepted?: Accepted): unknown {
    if (isHandled(options)) return makeHandled(options, this, new.target, NetSocket, makeSocket)
    if (new.target !== undefined) {
      // Of a class the engine remembers what its objects look like; objects of a function each get hidden classes of their own.
      const made = (new.target as unknown) === Socket ? NetSocket : (new.target as never)
      return Reflect.construct(NetSocket, [options, accepted], made)
    }
    if (!(this instanceof Socket)) return Reflect.construct(Socket as never, [options])
    new NetSocket(options, undefined, this as unknown as Duplex)
    return undefined
  }
  const makeSocket = () => new NetSocket()
  const dressedSocket = dressed<SocketConstructor>(Socket, NetSocket)
  Object.defineProperty(Socket, Symbol.hasInstance, {
    value: (value: unknown) =>
      Reflect.apply(Function.prototype[Symbol.hasInstance], Socket, [value]) ||
      isHandledSocket(value),
  })
  return dressedSocket
}

function serverConstructor(server: () => StackHost, makeSocket: SocketMaker): ServerConstructor {
  type Options = ServerOptions | ConnectionListener
  class NetServer extends BaseServer {
    constructor(options?: Options, listener?: ConnectionListener, target?: EventEmitter) {
      super(server, makeSocket, options, listener, target)
    }
  }
  function Server(this: unknown, options?: Options, listener?: ConnectionListener): unknown {
    if (new.target !== undefined) {
      return Reflect.construct(NetServer, [options, listener], new.target as never)
    }
    if (!(this instanceof Server)) {
      // Node's http and tls lay their servers over what `net` holds by this name: one that inherits from the kernel's stays so.
      if (!(this instanceof KernelServer)) return Reflect.construct(Server, [options, listener])
      Reflect.apply(KernelServer as never, this, [options, listener])
      return undefined
    }
    new NetServer(options, listener, this as unknown as EventEmitter)
    return undefined
  }
  return dressed(Server, NetServer)
}

// The function stands for the class: it has its prototype, so that `instanceof`, `extends` and changes to it work.
function dressed<T>(callable: object, original: { readonly prototype: object }): T {
  Object.defineProperty(callable, 'prototype', { value: original.prototype })
  Object.defineProperty(original.prototype, 'constructor', { value: callable, writable: true })
  return callable as T
}

const net: Net = createNet()

export const Socket: Net['Socket'] = net.Socket
export const Stream: Net['Socket'] = net.Stream
export const Server: Net['Server'] = net.Server
export const createServer: Net['createServer'] = net.createServer
export const connect: Net['connect'] = net.connect
export const createConnection: Net['connect'] = net.createConnection
export const _normalizeArgs: Net['_normalizeArgs'] = net._normalizeArgs
export type Socket = BaseSocket
export type Server = BaseServer

const everything: Net & { readonly createNet: typeof createNet } = withClasses({
  ...net,
  createNet,
})
export default everything
// What `require` gives: an object that can be changed, as that of `node:net` can.
export { everything as 'module.exports' }
