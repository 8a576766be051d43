/**
 * How long an application bears with a client: one that owes it something and is silent, and one that was told to go; and with its own node,
 * when that may store nothing for a client.
 */
import type { Socket } from '../stack/socket/net.js'

/** How long a client may be silent, in milliseconds, that owes the rest of a message or does not take its answers. */
export const SILENCE_MS = 60_000
/** How long a client may take to go, in milliseconds, when it has been told that its connection is over. */
const LEAVE_MS = 5000
/** How long a node that carries a connection waits for a new owner's term, in milliseconds. */
const TERM_MS = 20

/**
 * Calls `late`, which resets the connection unless told otherwise, when nothing goes over `socket` for `silenceMs`, in either direction, and
 * its client `owes` something.
 */
export function limitSilence(
  socket: Socket,
  silenceMs: number,
  owes: () => boolean,
  late: () => void = () => socket.resetAndDestroy(),
): void {
  // Whatever comes to be owed comes with traffic, which starts the time anew.
  socket.setTimeout(silenceMs)
  socket.on('timeout', () => {
    if (!socket.destroyed && owes()) late()
  })
}

/**
 * Ends a connection with `lastWords` and hears nothing more of it. They would be lost if it was closed while input comes, so that the
 * client has some seconds to read them and to go; then it is reset, and nothing is kept for it.
 */
export function dismiss(
  socket: Socket,
  lastWords: Uint8Array | string = '',
  leaveMs = LEAVE_MS,
): void {
  if (socket.destroyed) return
  socket.removeAllListeners('data')
  socket.resume()
  if (lastWords.length > 0) socket.write(lastWords, 'latin1')
  socket.end()
  const timer = setTimeout(() => socket.resetAndDestroy(), leaveMs).unref()
  socket.once('close', () => clearTimeout(timer))
}

/**
 * Whether a transaction threw `error` because the connection is another node's, or may be: nothing of it has been stored, and the client is not
 * heard for now. Either it ends here, and the socket is about to be told so; or this node carries it (P20), and will hear of a new owner's
 * term: `again` is called a moment later, while the connection is there.
 */
export function isForOwner(error: unknown, socket: Socket, again: () => void): boolean {
  const { code } = error as NodeJS.ErrnoException
  if (code !== 'ERR_NOT_OWNER' && code !== 'ERR_SOCKET_CLOSED') return false
  socket.pause()
  if (code === 'ERR_SOCKET_CLOSED') return true
  const retry = (): void => {
    if (!socket.destroyed) again()
  }
  setTimeout(retry, TERM_MS).unref()
  return true
}
