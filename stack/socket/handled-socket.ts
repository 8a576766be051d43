/**
 * Sockets that Node's own code makes with a handle of its own: `tls.TLSSocket`, the wrapper that gives a stream in JavaScript such a
 * handle, terminals, files that are open already. They are the kernel's `net.Socket` in all they do.
 *
 * A program may put this `net` in the place of Node's before it loads `tls`. Node's classes then inherit from our Socket, whose state
 * they have not; so each gets the kernel's prototype for a parent when the first of its objects is made. What such a socket says
 * of its ends, and where `tls.connect` goes to, is told by the socket of ours below it.
 */
import kernel from 'node:net'
import { Duplex } from 'node:stream'
import { connectArguments } from './connect-arguments.js'
import type { Socket } from './socket.js'

// Taken once: what is the kernel's must stay with it.
const KernelSocket = kernel.Socket

/** The options by which Node's own classes make a socket. */
interface HandleOptions {
  readonly fd?: unknown
  readonly handle?: Handle | null
  /** Given by Node's own classes only. */
  readonly manualStart?: boolean
}

interface Handle {
  /** The socket below, when the handle is that of TLS. */
  readonly _parentWrap?: Wrapper | null
  readonly _parent?: { close(): void }
}

/** Node's JSStreamSocket: a socket with a handle, above a stream without one. */
interface Wrapper extends kernel.Socket {
  readonly _handle: unknown
  readonly stream?: Duplex
}

/** As much of a `tls.TLSSocket` as is used here. */
interface SecureSocket extends kernel.Socket {
  readonly ssl: Handle
  readonly _tlsOptions?: { readonly pipe?: boolean; readonly secureContext?: object }
  _wrapHandle(wrap: Wrapper, handle: unknown, writing: boolean): Handle
}

// The socket of ours below one of Node's.
const below = new WeakMap<object, Socket>()
const connecting = new WeakMap<object, boolean>()

/** True when a socket with these options is the kernel's: one for a file that is open already, or for a handle of Node's. */
export function isHandled(options: unknown): options is object {
  if (typeof options !== 'object' || options === null) return typeof options === 'number'
  const { fd, handle } = options as HandleOptions
  return (fd !== undefined && fd !== null) || Boolean(handle)
}

/**
 * Makes the socket: of `target`, which a base constructor was called with, or of `newTarget`'s kind. `ours` is the constructor in whose
 * place that is, `dial` makes an unconnected socket of ours. Returns what the constructor returns.
 */
export function makeHandled(
  options: object,
  target: unknown,
  newTarget: unknown,
  ours: { readonly prototype: object },
  dial: () => Socket,
): unknown {
  if ((options as HandleOptions).manualStart !== true) return new KernelSocket(options)
  if (newTarget !== undefined) {
    adoptClass((newTarget as { prototype: object }).prototype, ours.prototype)
    return Reflect.construct(KernelSocket, [options], newTarget as never)
  }
  adoptClass(Object.getPrototypeOf(target), ours.prototype)
  const settled = isDialing(target, options) ? overStack(target, options, dial()) : options
  const stream = (settled as HandleOptions).handle?._parentWrap?.stream
  if (stream instanceof (ours as never)) layOver(target as object, stream as Socket)
  Reflect.apply(KernelSocket as never, target, [settled])
  return undefined
}

/** True for a socket of the kernel, as {@link makeHandled} makes them: `instanceof` of ours says yes to it. */
export function isHandledSocket(value: unknown): boolean {
  return value instanceof KernelSocket
}

// What the end of input means is for the socket above to say.
function layOver(socket: object, lower: Socket): void {
  below.set(socket, lower)
  lower.allowHalfOpen = true
}

// Of the prototypes of a class of Node's, the one that inherits from ours inherits from the kernel's instead.
function adoptClass(prototype: object, ours: object): void {
  for (let at = prototype; at !== null; at = Object.getPrototypeOf(at)) {
    if (Object.getPrototypeOf(at) !== ours) continue
    Object.setPrototypeOf(at, HandledSocket.prototype)
    return
  }
}

// `tls.connect` without a socket: Node has made a socket of the kernel for it.
function isDialing(target: unknown, options: HandleOptions): target is SecureSocket {
  const { _tlsOptions, _wrapHandle } = target as Partial<SecureSocket>
  if (_tlsOptions === undefined || typeof _wrapHandle !== 'function') return false
  return options.handle?._parentWrap === null && _tlsOptions.pipe !== true
}

// Puts `socket` below `secure` instead of the kernel's.
function overStack(secure: SecureSocket, options: HandleOptions, socket: Socket): HandleOptions {
  const Wrap = wrapperClass(secure)
  const wrap = new Wrap(socket)
  wrap.on('error', (error: Error) => secure.destroy(error))
  options.handle?._parent?.close()
  return { ...options, handle: secure._wrapHandle(wrap, wrap._handle, false) }
}

// Node does not show this class; it makes one for any stream that TLS is laid over.
function wrapperClass(secure: SecureSocket): new (stream: Duplex) => Wrapper {
  const Secure = secure.constructor as new (stream: Duplex, options: object) => SecureSocket
  const idle = new Duplex({ read() {}, write() {} })
  const sample = new Secure(idle, { secureContext: secure._tlsOptions?.secureContext })
  sample.on('error', () => {})
  const found = sample.ssl._parentWrap?.constructor as new (stream: Duplex) => Wrapper
  sample.destroy()
  return found
}

// Between the kernel's prototype and those of Node's classes.
class HandledSocket extends KernelSocket {
  override connect(...args: unknown[]): this {
    const socket = below.get(this)
    if (socket === undefined) return Reflect.apply(KernelSocket.prototype.connect, this, args)
    const [options, listener] = connectArguments(args)
    if (listener !== undefined) this.once('connect', listener)
    socket.once('connect', () => {
      this.emit('connect')
      this.emit('ready')
      if (this.readable && !this.isPaused()) this.read(0)
    })
    for (const event of [
      'lookup',
      'connectionAttempt',
      'connectionAttemptFailed',
      'connectionAttemptTimeout',
    ]) {
      socket.on(event, (...news: unknown[]) => this.emit(event, ...news))
    }
    socket.connect(options)
    return this
  }

  _getpeername(): object {
    const socket = below.get(this)
    return socket === undefined ? ask(this, '_getpeername') : socket._getpeername()
  }

  _getsockname(): object {
    const socket = below.get(this)
    return socket === undefined ? ask(this, '_getsockname') : socket._getsockname()
  }

  override setNoDelay(noDelay?: boolean): this {
    below.get(this)?.setNoDelay(noDelay)
    return super.setNoDelay(noDelay)
  }

  override setKeepAlive(enable?: boolean, initialDelay?: number): this {
    below.get(this)?.setKeepAlive(enable, initialDelay)
    return super.setKeepAlive(enable, initialDelay)
  }

  override ref(): this {
    below.get(this)?.ref()
    return super.ref()
  }

  override unref(): this {
    below.get(this)?.unref()
    return super.unref()
  }
}

// Node takes a socket below without handle for one that is still to connect.
Object.defineProperty(HandledSocket.prototype, 'connecting', {
  get(this: object): boolean {
    const socket = below.get(this)
    if (socket === undefined) return connecting.get(this) ?? false
    return socket.pending && !socket.destroyed
  },
  set(this: object, value: boolean) {
    connecting.set(this, value)
  },
})

function ask(socket: kernel.Socket, name: '_getpeername' | '_getsockname'): object {
  const { prototype } = KernelSocket as unknown as { prototype: Record<string, () => object> }
  return Reflect.apply(prototype[name] as () => object, socket, [])
}
