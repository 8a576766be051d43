/**
 * What the tests of the socket face share: a net per test, servers that are closed with it, bodies, digests.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  createNet,
  type Net,
  type Server,
  type ServerOptions,
  type Socket,
} from '../../../stack/socket/net.js'

export interface World {
  readonly net: Net
  readonly server: Server
  readonly port: number
}

/** A net of its own and a server on 127.0.0.1. */
export async function listening(
  onConnection: (socket: Socket) => void,
  options: ServerOptions = {},
): Promise<World> {
  const net = createNet()
  const server = net.createServer(options, onConnection)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { net, server, port: server.address()?.port ?? 0 }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Octets that differ from place to place. */
export function body(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  let x = seed | 1
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0
    bytes[i] = x >>> 24
  }
  return bytes
}

/** All that a socket or response gives until its end. */
export async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export async function closed(socket: Socket): Promise<boolean> {
  if (socket.closed) return socket.errored !== null
  return new Promise((resolve) => socket.once('close', resolve))
}

export async function failure(
  socket: Socket,
): Promise<NodeJS.ErrnoException & { address?: string; port?: number }> {
  return new Promise((resolve) => socket.once('error', resolve))
}
