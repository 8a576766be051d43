/**
 * WsControl: the control channels of a node, one WebSocket (RFC 6455) for each pair of nodes.
 *
 * Of two nodes the one with the smaller id dials, as soon as it knows the other's address and as long as it is not told to
 * forget it. No message counts before both have proven that they hold the cluster's key (ws-handshake.ts). A second proven
 * channel of a peer replaces the first: only the dialler opens channels and it holds one at a time, so to it the first is
 * dead. The end of a channel is reported at once; it is a hint that the peer is gone, never a proof.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer } from 'ws'
import { StackError } from '../../stack/index.js'
import { type DownReason, HANDSHAKE_MS, WsChannel } from './ws-channel.js'

export interface WsControlOptions {
  readonly id: number
  readonly cluster: string
  /** 32 octets: deriveKey(clusterKey, 'control'). Copied. */
  readonly key: Uint8Array
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default 0: any free port. */
  readonly port?: number
  onUp(id: number): void
  onDown(id: number, reason: DownReason): void
  /** `bytes` belongs to the receiver. */
  onMessage(id: number, bytes: Uint8Array): void
}

export interface WsControlStats {
  readonly up: number
  readonly sent: number
  readonly received: number
  /** TCP connections refused because too many were not proven. */
  readonly refused: number
  /** Channels by the reason of their end. */
  readonly ended: Readonly<Partial<Record<DownReason, number>>>
}

/** Octets of a message at most. */
export const MAX_MESSAGE = 1024 * 1024

/** Connections that have not proven themselves at most. */
export const MAX_UNPROVEN = 32

const FIRST_BACKOFF_MS = 20
const LAST_BACKOFF_MS = 1000
const PATH = '/control'

interface Peer {
  readonly id: number
  host: string
  port: number
  backoffMs: number
  retry: NodeJS.Timeout | null
  dialling: WsChannel | null
}

export class WsControl {
  readonly #options: WsControlOptions
  readonly #key: Uint8Array
  readonly #http: Server
  readonly #upgrades: WebSocketServer
  readonly #connections = new Set<Socket>()
  readonly #unproven = new Map<Socket, NodeJS.Timeout>()
  readonly #channels = new Map<number, WsChannel>()
  readonly #open = new Set<WsChannel>()
  readonly #peers = new Map<number, Peer>()
  readonly #ended: Partial<Record<DownReason, number>> = {}
  #sent = 0
  #received = 0
  #refused = 0
  #closed = false

  constructor(options: WsControlOptions) {
    this.#options = options
    this.#key = Uint8Array.from(options.key)
    this.#upgrades = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE,
    })
    this.#http = createServer((_request, response) => response.writeHead(426).end())
    this.#http.on('connection', (connection) => this.#admit(connection))
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
  }

  /** Throws StackError ERR_CONTROL_LISTEN. */
  listen(): Promise<{ host: string; port: number }> {
    const { host = '127.0.0.1', port = 0 } = this.#options
    return new Promise((resolve, reject) => {
      this.#http.once('error', (cause) => {
        const message = `the control channel cannot listen on ${host}:${port}: ${cause.message}; give an address of this host and a free port, or 0`
        reject(new StackError('ERR_CONTROL_LISTEN', message, { cause }))
      })
      this.#http.listen(port, host, () => {
        resolve({ host, port: (this.#http.address() as AddressInfo).port })
      })
    })
  }

  /** Makes a peer known, or its new address. Dials it if its id is the greater one. */
  addPeer(id: number, host: string, port: number): void {
    if (this.#closed || id <= this.#options.id) return
    const known = this.#peers.get(id)
    if (known?.host === host && known.port === port) return
    if (known !== undefined) this.#forget(known)
    const peer = { id, host, port, backoffMs: FIRST_BACKOFF_MS, retry: null, dialling: null }
    this.#peers.set(id, peer)
    if (!this.#channels.has(id)) this.#dial(peer)
  }

  /** Ends the channel with a peer and dials it no more. */
  removePeer(id: number): void {
    const peer = this.#peers.get(id)
    this.#peers.delete(id)
    if (peer !== undefined) this.#forget(peer)
    this.#channels.get(id)?.end('removed')
  }

  /** False when there is no channel, or the peer reads so slowly that this one now ends. `bytes` may be used again. */
  send(id: number, bytes: Uint8Array): boolean {
    if (bytes.length > MAX_MESSAGE) {
      throw new StackError(
        'ERR_CONTROL_MESSAGE_SIZE',
        `a message of ${bytes.length} octets exceeds ${MAX_MESSAGE}: send it in parts`,
      )
    }
    const sent = this.#channels.get(id)?.send(bytes) === true
    if (sent) this.#sent++
    return sent
  }

  /** The peers with a channel. */
  up(): number[] {
    return [...this.#channels.keys()]
  }

  stats(): WsControlStats {
    return {
      up: this.#channels.size,
      sent: this.#sent,
      received: this.#received,
      refused: this.#refused,
      ended: { ...this.#ended },
    }
  }

  /** Ends all channels. No callback is called any more. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const peer of this.#peers.values()) this.#forget(peer)
    for (const channel of [...this.#open]) channel.end('closed')
    for (const timer of this.#unproven.values()) clearTimeout(timer)
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()))
    for (const connection of this.#connections) connection.destroy()
    await closed
  }

  // Counts and limits connections from their first moment: one that sends nothing costs as much as one that lies.
  #admit(connection: Socket): void {
    if (this.#unproven.size >= MAX_UNPROVEN || this.#closed) {
      this.#refused++
      connection.destroy()
      return
    }
    connection.setNoDelay(true)
    connection.on('error', () => connection.destroy())
    const timer = setTimeout(() => {
      this.#count('timeout')
      connection.destroy()
    }, HANDSHAKE_MS)
    this.#connections.add(connection)
    this.#unproven.set(connection, timer)
    connection.once('close', () => {
      this.#connections.delete(connection)
      this.#settle(connection)
    })
  }

  #settle(connection: Socket): void {
    clearTimeout(this.#unproven.get(connection))
    this.#unproven.delete(connection)
  }

  #upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    const connection = stream as Socket
    if (request.url !== PATH || !this.#unproven.has(connection)) {
      connection.destroy()
      return
    }
    this.#upgrades.handleUpgrade(request, stream, head, (socket) => {
      // From here on the channel's own limit holds; the connection stays counted until it is proven.
      clearTimeout(this.#unproven.get(connection))
      const channel = this.#channel(socket, -1, () => this.#settle(connection))
      channel.watch(connection)
    })
  }

  #dial(peer: Peer): void {
    const host = peer.host.includes(':') ? `[${peer.host}]` : peer.host
    const socket = new WebSocket(`ws://${host}:${peer.port}${PATH}`, {
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE,
      followRedirects: false,
    })
    peer.dialling = this.#channel(socket, peer.id, () => {
      peer.dialling = null
      peer.backoffMs = FIRST_BACKOFF_MS
    })
  }

  #channel(socket: WebSocket, peer: number, proven: () => void): WsChannel {
    const { id, cluster } = this.#options
    const channel = new WsChannel({
      socket,
      id,
      cluster,
      key: this.#key,
      peer,
      onProven: (channel) => {
        proven()
        this.#handleProven(channel)
      },
      onEnd: (channel, reason) => this.#handleEnd(channel, reason),
      onMessage: (channel, bytes) => {
        this.#received++
        this.#options.onMessage(channel.peer, bytes)
      },
    })
    this.#open.add(channel)
    return channel
  }

  #handleProven(channel: WsChannel): void {
    this.#channels.get(channel.peer)?.end('replaced')
    this.#channels.set(channel.peer, channel)
    this.#options.onUp(channel.peer)
  }

  #handleEnd(channel: WsChannel, reason: DownReason): void {
    this.#open.delete(channel)
    this.#count(reason)
    const { peer: id } = channel
    const wasUp = this.#channels.get(id) === channel
    if (wasUp) this.#channels.delete(id)
    if (this.#closed) return
    const peer = this.#peers.get(id)
    if (peer !== undefined && (wasUp || peer.dialling === channel)) this.#dialLater(peer)
    if (wasUp) this.#options.onDown(id, reason)
  }

  #dialLater(peer: Peer): void {
    peer.dialling = null
    if (peer.retry !== null) clearTimeout(peer.retry)
    peer.retry = setTimeout(() => this.#dial(peer), peer.backoffMs)
    peer.backoffMs = Math.min(2 * peer.backoffMs, LAST_BACKOFF_MS)
  }

  #forget(peer: Peer): void {
    if (peer.retry !== null) clearTimeout(peer.retry)
    peer.retry = null
    const { dialling } = peer
    peer.dialling = null
    dialling?.end('removed')
  }

  #count(reason: DownReason): void {
    this.#ended[reason] = (this.#ended[reason] ?? 0) + 1
  }
}
