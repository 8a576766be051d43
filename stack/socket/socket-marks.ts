/**
 * SocketMarks: what is true of a socket, or not. There are as many sockets as connections, so all of it is one number: a field of truth
 * takes as much memory as any other. It is told and changed by functions, as whatever is named on a socket an application may name, too.
 */
import { DuplexOrigin } from './origin.js'

export const Mark = {
  /** Addresses of IPv4 are shown as mapped into IPv6, as the server listens by IPv6. */
  MAPS_ADDRESSES: 1,
  /** The process may end whatever the socket has under way. */
  UNREFED: 2,
  /** It connects, reads, or has written what is not with the stack yet. */
  ACTIVE: 4,
  /** It keeps the process alive. */
  HOLDS_REF: 8,
  /** Nagle's algorithm is off. */
  NO_DELAY: 16,
  /** A silent peer is probed. */
  KEEP_ALIVE: 32,
  /** The stream has asked for input and has not got any since. */
  WANTS_READ: 64,
  /** Input is handed on behind this tick. */
  PULLING: 128,
  /** The stream has been told that the input has ended. */
  INPUT_ENDED: 256,
  /** It is destroyed by a reset. */
  RESETTING: 512,
} as const

/** True when one of `marks` is set. */
export let is: (socket: SocketMarks, marks: number) => boolean

/** Sets `marks`, or takes them away. */
export let mark: (socket: SocketMarks, marks: number, on: boolean) => void

export abstract class SocketMarks extends DuplexOrigin {
  // Bits of Mark.
  #marks = 0

  static {
    is = (socket, marks) => (socket.#marks & marks) !== 0
    mark = (socket, marks, on) => {
      socket.#marks = on ? socket.#marks | marks : socket.#marks & ~marks
    }
  }
}
