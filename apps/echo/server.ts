/**
 * Echo (A8): every octet comes back. A checkpoint per chunk makes it survive without a state of its own.
 */
import type { Socket } from '../../stack/socket/net.js'

/** Serves one connection. */
export function echo(socket: Socket): void {
  // The end of an answer must not wait until the client acknowledges what came before it.
  socket.setNoDelay()
  socket.on('error', () => socket.destroy())
  socket.on('end', () => socket.end())
  socket.on('data', (chunk: Buffer) => {
    const room = socket.write(chunk)
    socket.commit()
    if (room) return
    socket.pause()
    socket.once('drain', () => socket.resume())
  })
}
