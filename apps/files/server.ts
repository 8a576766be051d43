/**
 * An HTTP file server on an unchanged node:http (A3): GET and HEAD with ranges, conditions, pages of folders and digests, and PUT. It
 * survives the death of its node by checkpoints (A2).
 *
 * What makes an answer repeatable is stored too: its date, and the file's tag. A file that changed meanwhile ends the connection.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { join, normalize, sep } from 'node:path'
import type { Socket } from '../../stack/socket/net.js'
import type { RequestPlace } from '../http/request-tracker.js'
import { download, type Target } from './download.js'
import { FileDigests } from './file-digest.js'
import { Refusal } from './refusal.js'
import { Session } from './session.js'
import { upload } from './upload.js'

/** How long a client may take to say a request's head, in milliseconds. */
const HEAD_MS = 60_000
/** How long nothing may go by in a request, in milliseconds. To compute the digest of a very large file takes minutes. */
const SILENCE_MS = 300_000

/** Of a client that goes away, or of a connection that moves to another node, nothing is wrong: an answer's code, and an upload's. */
const GONE: ReadonlySet<string> = new Set(['ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET'])

/** Options of a file server. */
export interface FileServerOptions {
  /** Folder whose files are served, and where uploads go. */
  readonly root: string
  /** How long a client may take to say a request's head, in milliseconds. */
  readonly headMs?: number
  /** How long a client may neither send of its upload nor take of its answer, in milliseconds. */
  readonly silenceMs?: number
  /** Called for what went wrong in a request. */
  readonly onError?: (error: Error) => void
}

/** A file server to which connections are given by `emit('connection', socket)`. */
export function createFileServer(options: FileServerOptions): Server {
  const sessions = new WeakMap<object, Session>()
  const digests = new FileDigests()
  const server = createServer((req, res) => {
    const session = sessions.get(req.socket)
    if (session === undefined) return void res.writeHead(500).end()
    const place = session.tracker.take()
    const answered = new Promise<void>((resolve) => res.once('close', resolve))
    const turn = session.previous
    session.previous = answered
    turn
      .then(() => answer(options.root, digests, session, place, req, res))
      .catch((error: Error) => refuse(session, place, req, res, error, options.onError))
  })
  // Ours goes first, so that the tracker hears every octet before the parser does.
  server.prependListener('connection', (socket: Socket) => {
    sessions.set(socket, new Session(socket, server))
  })
  server.keepAliveTimeout = 75_000
  // An upload may take as long as it moves.
  server.requestTimeout = 0
  server.headersTimeout = options.headMs ?? HEAD_MS
  server.timeout = options.silenceMs ?? SILENCE_MS
  return server
}

function refuse(
  session: Session,
  place: RequestPlace | undefined,
  req: IncomingMessage,
  res: ServerResponse,
  error: Error,
  onError?: (error: Error) => void,
): void {
  if (res.headersSent || res.destroyed) {
    if (!GONE.has((error as NodeJS.ErrnoException).code ?? '')) onError?.(error)
    res.destroy()
    return
  }
  const { status, message } = Refusal.of(error)
  if (status === 500) onError?.(error)
  session.say(place, req, res, status, `${message}\n`)
}

async function answer(
  root: string,
  digests: FileDigests,
  session: Session,
  place: RequestPlace | undefined,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const progress = session.progress
  session.progress = null
  res.setHeader('Date', progress?.date ?? new Date().toUTCString())
  if (place === undefined) throw new Refusal(400, 'the request cannot be followed')
  const target = targetOf(root, req.url ?? '/')
  const exchange = { session, place, progress, req, res }
  if (req.method === 'GET' || req.method === 'HEAD') {
    await download(exchange, target, digests)
  } else if (req.method === 'PUT') {
    if (target.path.endsWith('/')) throw new Refusal(409, 'that names a folder: name a file')
    await upload(exchange, target)
  } else {
    res.setHeader('Allow', 'GET, HEAD, PUT')
    throw new Refusal(405, `${req.method} is not served here: use GET, HEAD or PUT`)
  }
}

function targetOf(root: string, url: string): Target {
  // The absolute form, as for a proxy, must be accepted (RFC 9112 §3.2.2).
  const [encoded = '/', query = ''] = url.replace(/^https?:\/\/[^/?]*/i, '').split('?', 2)
  let path: string
  try {
    path = decodeURIComponent(encoded)
  } catch {
    throw new Refusal(400, 'the path is not well encoded')
  }
  const base = normalize(root)
  const file = normalize(join(base, path))
  const inside = file === base || file === base + sep || file.startsWith(base + sep)
  if (!inside || path.includes('\0')) throw new Refusal(404, 'no such file')
  return { path, file, query: new URLSearchParams(query) }
}
