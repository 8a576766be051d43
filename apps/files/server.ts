/**
 * An HTTP file server on an unchanged node:http (A3): GET and HEAD with ranges, PUT. It survives the death of its node by
 * checkpoints (A2): for each request it stores the request's head and how far it has come, so that a peer hears the same request
 * again, regenerates the same head of the answer, and goes on in mid-file.
 *
 * What makes an answer repeatable is stored too: its date, and the file's tag. A file that changed meanwhile ends the connection.
 */
import * as fs from 'node:fs'
import { open, rename, stat } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { basename, dirname, join, normalize, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Socket } from '../../stack/socket/net.js'
import { type RequestPlace, RequestTracker } from '../http/request-tracker.js'
import { parseRange } from './range.js'

/** Octets of an upload between two checkpoints: what a peer keeps of the input meanwhile. */
const CHECKPOINT_EVERY = 512 * 1024

/** What a checkpoint holds: the request being answered, and how far. */
interface Progress {
  /** The request's head as it came. */
  readonly head: string
  /** The Date field of the answer. */
  readonly date: string
  /** Of a download: the file's tag when the answer began. */
  readonly etag?: string
  /** Of an upload: octets of the body that are in the file. */
  readonly stored?: number
  /** Of an upload: where its body began in the input, and how long it is. */
  readonly bodyOffset?: number
  readonly bodyLength?: number
  /** Names the upload's part file. */
  readonly part?: string
  /** Where the answer ends in the output, once that is known: what is sent that far needs nobody any more. */
  readonly end?: number
}

interface Resumed {
  readonly input: number
  readonly output: number
  readonly sent: number
  readonly state: Progress | null
}

/** One connection's requests, in order. */
class Session {
  readonly socket: Socket
  readonly tracker: RequestTracker
  /** How far the node before us had come; null when it is used up, or when there is nothing to resume. */
  progress: Progress | null = null
  /** Resolves when the answer before has been handed to the socket. */
  previous: Promise<void> = Promise.resolve()

  constructor(socket: Socket) {
    this.socket = socket
    const resumed = socket.resumed as Resumed | null
    const start = resumed?.input ?? 0
    if (resumed?.state == null || isAnswered(resumed)) {
      this.tracker = new RequestTracker(start)
      if (resumed?.state?.end !== undefined) socket.skip(resumed.state.end - resumed.output)
    } else {
      this.progress = resumed.state
      const head = Buffer.from(repeatedHead(resumed.state), 'latin1')
      this.tracker = new RequestTracker(start - head.length)
      socket.unshift(head)
    }
    socket.on('data', (chunk: Buffer) => this.tracker.feed(chunk))
  }

  /** The whole answer to the request at `place` has been written: nobody needs to give it again. */
  commitAnswered({ head, bodyOffset, bodyLength }: RequestPlace): void {
    const { socket } = this
    if (socket.destroyed) return
    const end = socket.outputOffset
    const state: Progress = { head, date: '', end }
    socket.commit(state, { input: bodyOffset + Math.max(bodyLength, 0), output: end })
  }
}

// The whole answer has been sent, or waits in the stack to be sent again.
function isAnswered({ state, sent }: Resumed): boolean {
  return state?.end !== undefined && sent >= state.end
}

// The head to hear again: of an upload, only the rest of the body is still to come.
function repeatedHead({ head, stored, bodyLength }: Progress): string {
  const again = head.replace(/^expect:.*\r\n/im, '')
  if (stored === undefined || bodyLength === undefined) return again
  return again.replace(/^content-length:.*$/im, `Content-Length: ${bodyLength - stored}`)
}

/** Options of a file server. */
export interface FileServerOptions {
  /** Folder whose files are served, and where uploads go. */
  readonly root: string
  /** Called for what went wrong in a request. */
  readonly onError?: (error: Error) => void
}

/** A file server to which connections are given by `emit('connection', socket)`. */
export function createFileServer(options: FileServerOptions): Server {
  const sessions = new WeakMap<object, Session>()
  const server = createServer((req, res) => {
    const session = sessions.get(req.socket)
    if (session === undefined) return void res.writeHead(500).end()
    const place = session.tracker.take()
    const answered = new Promise<void>((resolve) => res.once('close', resolve))
    const turn = session.previous
    session.previous = answered
    turn
      .then(() => answer(options.root, session, place, req, res))
      .catch((error: Error) => {
        refuse(res, error, options.onError)
        if (place !== undefined) session.commitAnswered(place)
      })
  })
  // Ours goes first, so that the tracker hears every octet before the parser does.
  server.prependListener('connection', (socket: Socket) => {
    sessions.set(socket, new Session(socket))
  })
  server.keepAliveTimeout = 75_000
  server.requestTimeout = 0
  return server
}

class HttpError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

function refuse(res: ServerResponse, error: Error, onError?: (error: Error) => void): void {
  if (res.headersSent || res.destroyed) {
    onError?.(error)
    res.destroy()
    return
  }
  const code = (error as NodeJS.ErrnoException).code
  const missing = code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR'
  const status = error instanceof HttpError ? error.status : missing ? 404 : 500
  if (status === 500) onError?.(error)
  const text = `${status === 404 ? 'no such file' : error.message}\n`
  res.writeHead(status, { 'Content-Type': 'text/plain', 'Content-Length': Buffer.byteLength(text) })
  res.end(text)
}

async function answer(
  root: string,
  session: Session,
  place: RequestPlace | undefined,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const progress = session.progress
  session.progress = null
  res.setHeader('Date', progress?.date ?? new Date().toUTCString())
  if (place === undefined) throw new HttpError(400, 'the request cannot be followed')
  const file = resolvePath(root, req.url ?? '/')
  if (req.method === 'GET' || req.method === 'HEAD') {
    await send(file, session, place, progress, req, res)
  } else if (req.method === 'PUT') {
    await receive(file, session, place, progress, req, res)
  } else {
    res.setHeader('Allow', 'GET, HEAD, PUT')
    throw new HttpError(405, `${req.method} is not served here: use GET, HEAD or PUT`)
  }
}

function resolvePath(root: string, url: string): string {
  let path: string
  try {
    path = decodeURIComponent(url.split('?')[0] ?? '/')
  } catch {
    throw new HttpError(400, 'the path is not well encoded')
  }
  const file = normalize(join(root, path))
  if (!file.startsWith(normalize(root) + sep) || path.includes('\0') || path.endsWith('/')) {
    throw new HttpError(404, 'no such file')
  }
  return file
}

async function send(
  file: string,
  session: Session,
  place: RequestPlace,
  progress: Progress | null,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const { socket } = session
  const info = await stat(file)
  if (!info.isFile()) throw new HttpError(404, 'no such file')
  const etag = `"${info.ino.toString(16)}-${info.size.toString(16)}-${Math.floor(info.mtimeMs).toString(16)}"`
  if (progress?.etag !== undefined && progress.etag !== etag) {
    socket.resetAndDestroy()
    return
  }
  const start = socket.outputOffset
  const range = parseRange(req.headers.range, info.size)
  if (range.kind === 'unsatisfiable') {
    res.setHeader('Content-Range', `bytes */${info.size}`)
    throw new HttpError(416, `the file has ${info.size} octets`)
  }
  const first = range.kind === 'part' ? range.first : 0
  const last = range.kind === 'part' ? range.last : info.size - 1
  const length = last - first + 1
  if (range.kind === 'part') {
    res.setHeader('Content-Range', `bytes ${first}-${last}/${info.size}`)
  }
  res.writeHead(range.kind === 'part' ? 206 : 200, {
    'Content-Type': 'application/octet-stream',
    'Content-Length': length,
    'Accept-Ranges': 'bytes',
    ETag: etag,
    'Last-Modified': info.mtime.toUTCString(),
  })
  res.flushHeaders()
  const body = req.method === 'HEAD' ? 0 : length
  if (progress === null) {
    const date = res.getHeader('Date') as string
    const state: Progress = { head: place.head, date, etag, end: socket.outputOffset + body }
    socket.commit(state, { input: place.bodyOffset + place.bodyLength, output: start })
  }
  if (body === 0) return void res.end()
  const done = skipSent(socket, length)
  if (done === length) return void res.end()
  await pipeline(fs.createReadStream(file, { start: first + done, end: last }), res)
}

// Behind a take-over the stack holds what was sent and not acknowledged: the file is read from there on.
function skipSent(socket: Socket, length: number): number {
  const resumed = socket.resumed as Resumed | null
  const done = Math.min(Math.max((resumed?.sent ?? 0) - socket.outputOffset, 0), length)
  if (done > 0) socket.skip(done)
  return done
}

async function receive(
  file: string,
  session: Session,
  place: RequestPlace,
  progress: Progress | null,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  if (place.bodyLength < 0) {
    res.setHeader('Connection', 'close')
    throw new HttpError(411, 'say how long the file is: an upload needs Content-Length')
  }
  const { socket } = session
  const date = res.getHeader('Date') as string
  const part =
    progress?.part ?? `.${basename(file)}.${process.pid}-${place.bodyOffset}-${Date.now()}.part`
  const partFile = join(dirname(file), part)
  const start: Progress = progress ?? {
    head: place.head,
    date,
    stored: 0,
    bodyOffset: place.bodyOffset,
    bodyLength: place.bodyLength,
    part,
  }
  let stored = start.stored ?? 0
  const { bodyOffset = 0, bodyLength = 0 } = start
  const commit = (): void => {
    socket.commit({ ...start, stored }, { input: bodyOffset + stored, output: socket.outputOffset })
  }
  if (progress === null) commit()
  if (stored < bodyLength || progress === null) {
    // Written in place, never appended: octets behind the checkpoint come again.
    const handle = await open(partFile, progress === null ? 'w' : 'r+')
    try {
      let committed = stored
      for await (const chunk of req as AsyncIterable<Buffer>) {
        for (let at = 0; at < chunk.length; ) {
          const { bytesWritten } = await handle.write(chunk, at, chunk.length - at, stored)
          at += bytesWritten
          stored += bytesWritten
        }
        if (stored - committed >= CHECKPOINT_EVERY && stored < bodyLength) {
          commit()
          committed = stored
        }
      }
    } catch (error) {
      // The client went away; or the connection did, to another node, which goes on with the part.
      if (!isMoved(socket)) await fs.promises.rm(partFile, { force: true })
      throw error
    } finally {
      await handle.close()
    }
    commit()
  } else {
    req.resume()
  }
  // Nothing torn is ever seen under the file's name. After a take-over it may have happened already.
  await rename(partFile, file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' || progress === null) throw error
  })
  const text = `stored ${stored} octets\n`
  res.writeHead(201, { 'Content-Type': 'text/plain', 'Content-Length': text.length })
  res.end(text)
  session.commitAnswered({ ...place, bodyOffset, bodyLength })
}

function isMoved(socket: Socket): boolean {
  return (socket.errored as NodeJS.ErrnoException | null)?.code === 'ERR_CONNECTION_MOVED'
}
