/**
 * Ticker (A8): a number each 200 ms, for as long as the client stays. Its whole state is the number, which goes into a checkpoint; behind
 * a take-over it counts on, and none is missing or doubled.
 */
import type { Socket } from '../../stack/socket/net.js'

const EVERY_MS = 200

/** Serves one connection. */
export function ticker(socket: Socket): void {
  const resumed = socket.resumed as { readonly state: { readonly count: number } | null } | null
  let count = resumed?.state?.count ?? 0
  socket.setNoDelay()
  const timer = setInterval(() => {
    // A client that does not read gets the next number when it does.
    if (socket.writableNeedDrain || !socket.writable) return
    count++
    socket.write(`${count}\n`)
    socket.commit({ count })
  }, EVERY_MS).unref()
  socket.on('error', () => socket.destroy())
  socket.on('close', () => clearInterval(timer))
  socket.on('end', () => socket.end())
  socket.resume()
}
