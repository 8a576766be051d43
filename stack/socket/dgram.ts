/**
 * UDP for applications: what `node:dgram` exports, over this stack. `createDgram(host)` binds it to a stack with an event loop;
 * without a host it is a network in memory of its own, whose sockets reach each other on 127.0.0.1 and ::1.
 */
import { type DgramOptions, DgramSocket, type MessageListener } from './dgram-socket.js'
import { coded } from './errors.js'
import type { StackHost } from './host.js'
import { type Loopback, newLoopback } from './loopback.js'

export {
  type DgramOptions,
  DgramSocket,
  type MessageListener,
  type RemoteInfo,
} from './dgram-socket.js'

/** What `node:dgram` exports, bound to one network. */
export interface Dgram {
  readonly Socket: typeof DgramSocket
  /** A socket; `listener` hears its `message` events. Throws ERR_SOCKET_BAD_TYPE for another type. */
  createSocket(type: 'udp4' | 'udp6' | DgramOptions, listener?: MessageListener): DgramSocket
}

/** A `dgram` on `host`. Without a host, on a network in memory of its own. */
export function createDgram(host?: StackHost): Dgram {
  let loopback: Loopback | null = null
  const place = (): StackHost => {
    if (host !== undefined) return host
    loopback ??= newLoopback()
    return loopback.server
  }
  const createSocket: Dgram['createSocket'] = (type, listener) => {
    const options = typeof type === 'string' ? { type } : type
    if (options?.type !== 'udp4' && options?.type !== 'udp6') {
      const text = 'Bad socket type specified. Valid types are: udp4, udp6'
      throw coded(new TypeError(text), 'ERR_SOCKET_BAD_TYPE')
    }
    return new DgramSocket(place, options, listener)
  }
  return { Socket: DgramSocket, createSocket }
}
