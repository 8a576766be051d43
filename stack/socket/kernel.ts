/**
 * What no stack in user space has: Unix sockets and files that are open already. They stay with the kernel: a server of this
 * stack that is to listen there has one of Node's behind it, whose sockets it hands on.
 */

import type { EventEmitter } from 'node:events'
import { createServer, type Server } from 'node:net'
import type { ListenOptions } from './connect-arguments.js'

/** What a kernel server's events are handed on to. */
export type Front = EventEmitter

/** A server of the kernel whose events come out of `front`. `options` are those of the server. */
export function listenInKernel(front: Front, options: object, where: ListenOptions): Server {
  const server = createServer(options)
  for (const event of ['connection', 'listening', 'error', 'close', 'drop']) {
    server.on(event, (...args: unknown[]) => {
      if (event === 'connection') (args[0] as { server: unknown }).server = front
      front.emit(event, ...args)
    })
  }
  // A port that is named, and be it undefined, would come first.
  const { port: _none, ...rest } = where
  return server.listen(rest)
}
