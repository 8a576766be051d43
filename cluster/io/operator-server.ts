/**
 * OperatorServer: what an operator reads over HTTP (O3): the live page with its feed, the status as JSON, metrics, health and
 * readiness. It listens on the loopback interface or on a Unix socket, speaks to no client of the virtual address, and changes
 * nothing unless its maker gives it `command`, which a lab does.
 */
import * as fs from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { StackError } from '../../stack/index.js'
import type { NodeStatus } from './node-status.js'

/** Where to listen: a host and port (0: any free one), or the path of a Unix socket. */
export type OperatorAddress =
  | { readonly host: string; readonly port: number }
  | { readonly socket: string }

/** What the page shows. */
export interface OperatorView {
  readonly nodes: readonly NodeStatus[]
  /** What can be done to a node, in a lab; empty where nothing can. */
  readonly verbs: readonly string[]
  /** Of each node of a lab, whether its process runs. */
  readonly processes: Readonly<Record<number, string>>
}

export interface OperatorOptions {
  readonly address: OperatorAddress
  view(): OperatorView | Promise<OperatorView>
  metrics?(): Promise<string>
  /** Null: all is well. Else what is not. */
  health?(): string | null
  ready?(): string | null
  /** Does `verb` to node `node` of a lab. Rejects with a StackError. */
  command?(verb: string, node: number): Promise<void>
}

/** How often a view is sent to the pages that are open. */
const FEED_MS = 200
const MAX_FEEDS = 16
/** A page that takes nothing any more gets no further views meanwhile. */
const MAX_BUFFERED = 1024 * 1024
const PAGE = new URL('../../../cluster/io/page/', import.meta.url)
const FILES: Readonly<Record<string, readonly [file: string, type: string]>> = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/page.mjs': ['page.mjs', 'text/javascript; charset=utf-8'],
  '/charts.mjs': ['charts.mjs', 'text/javascript; charset=utf-8'],
  '/icon.svg': ['icon.svg', 'image/svg+xml'],
  '/page.css': ['page.css', 'text/css; charset=utf-8'],
}

export class OperatorServer {
  readonly #options: OperatorOptions
  readonly #http: Server
  readonly #feeds: WebSocketServer
  #timer: NodeJS.Timeout | null = null
  #closed = false

  private constructor(options: OperatorOptions) {
    this.#options = options
    this.#http = createServer((request, response) => {
      this.#answer(request, response).catch((error: Error) => {
        respond(response, 500, 'text/plain', `${error.message}\n`)
      })
    })
    this.#feeds = new WebSocketServer({ noServer: true, maxPayload: 1024 })
    this.#http.on('upgrade', (request, socket, head) => {
      const known = request.url === '/feed' && this.#feeds.clients.size < MAX_FEEDS
      if (!known || !isTrusted(request)) {
        socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n')
        return
      }
      this.#feeds.handleUpgrade(request, socket, head, (feed) => this.#serve(feed))
    })
    // Looking at a node must not keep it alive.
    this.#http.unref()
  }

  /** Throws ERR_OPERATOR_ADDRESS. */
  static async open(options: OperatorOptions): Promise<OperatorServer> {
    const server = new OperatorServer(options)
    const { address } = options
    await new Promise<void>((resolve, reject) => {
      server.#http.once('error', (error: NodeJS.ErrnoException) => {
        const what = 'socket' in address ? address.socket : `${address.host}:${address.port}`
        reject(
          new StackError(
            'ERR_OPERATOR_ADDRESS',
            `operator: cannot listen on ${what} (${error.code}); choose another one, or 0 for any free port`,
          ),
        )
      })
      if ('socket' in address) {
        fs.rmSync(address.socket, { force: true })
        server.#http.listen(address.socket, () => {
          fs.chmodSync(address.socket, 0o600)
          resolve()
        })
      } else {
        server.#http.listen(address.port, address.host, resolve)
      }
    })
    return server
  }

  /** Where the page is, for a browser; null on a Unix socket. */
  get url(): string | null {
    const bound = this.#http.address()
    if (bound === null || typeof bound === 'string') return null
    const { address, port } = bound as AddressInfo
    return `http://${address.includes(':') ? `[${address}]` : address}:${port}/`
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET' } = request
    const path = (request.url ?? '/').split('?')[0] ?? '/'
    if (method === 'POST' && path === '/command') return this.#command(request, response)
    if (method !== 'GET' && method !== 'HEAD') {
      return respond(response, 405, 'text/plain', 'GET and HEAD only\n')
    }
    const file = FILES[path]
    if (file !== undefined) {
      const [name, type] = file
      return respond(response, 200, type, fs.readFileSync(new URL(name, PAGE)))
    }
    if (path === '/status') {
      const view = await this.#options.view()
      return respond(response, 200, 'application/json', `${JSON.stringify(view)}\n`)
    }
    if (path === '/metrics' && this.#options.metrics !== undefined) {
      const text = await this.#options.metrics()
      return respond(response, 200, 'text/plain; version=0.0.4; charset=utf-8', text)
    }
    if (path === '/health' || path === '/ready') {
      const fault = (path === '/health' ? this.#options.health : this.#options.ready)?.() ?? null
      return respond(response, fault === null ? 200 : 503, 'text/plain', `${fault ?? 'ok'}\n`)
    }
    respond(response, 404, 'text/plain', 'there are /, /status, /metrics, /health and /ready\n')
  }

  async #command(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { command } = this.#options
    // A page of somebody else's cannot add this header without being asked for it first.
    if (command === undefined || !isTrusted(request) || request.headers['x-understudy'] !== '1') {
      return respond(response, 403, 'text/plain', 'commands are for the page of a lab only\n')
    }
    const query = new URL(request.url ?? '/', 'http://lab').searchParams
    const verb = query.get('verb') ?? ''
    const node = Number(query.get('node'))
    const { verbs } = await this.#options.view()
    if (!verbs.includes(verb) || !Number.isInteger(node)) {
      return respond(response, 400, 'text/plain', `verb is one of ${verbs.join(', ')}\n`)
    }
    try {
      await command(verb, node)
      respond(response, 200, 'text/plain', 'done\n')
    } catch (error) {
      const { code, message } = error as StackError
      respond(response, 409, 'text/plain', `${message} (${code})\n`)
    }
  }

  #serve(feed: WebSocket): void {
    feed.on('error', () => {})
    void this.#send([feed])
    this.#timer ??= setInterval(() => {
      if (this.#feeds.clients.size === 0) this.#rest()
      else void this.#send(this.#feeds.clients)
    }, FEED_MS).unref()
  }

  async #send(feeds: Iterable<WebSocket>): Promise<void> {
    const text = JSON.stringify(await this.#options.view())
    for (const feed of feeds) {
      if (feed.readyState === feed.OPEN && feed.bufferedAmount < MAX_BUFFERED) feed.send(text)
    }
  }

  #rest(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#rest()
    for (const feed of this.#feeds.clients) feed.terminate()
    this.#http.closeAllConnections()
    await new Promise((resolve) => this.#http.close(resolve))
    const { address } = this.#options
    if ('socket' in address) fs.rmSync(address.socket, { force: true })
  }
}

// A name that resolves to us, in a page of somebody else's, must not open the door (DNS rebinding).
function isTrusted({ headers, socket }: IncomingMessage): boolean {
  if (socket.remoteAddress === undefined) return true
  const name = (headers.host ?? '').replace(/:\d+$/, '')
  if (!['localhost', '127.0.0.1', '[::1]', socket.localAddress].includes(name)) return false
  return headers.origin === undefined || headers.origin === `http://${headers.host}`
}

function respond(
  response: ServerResponse,
  status: number,
  type: string,
  body: string | Buffer,
): void {
  response.writeHead(status, {
    'content-type': type,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'self'; connect-src 'self' ws:",
  })
  response.end(body)
}
