/** GET and HEAD: files whole and in parts, the pages of folders, and digests. */
import type * as fs from 'node:fs'
import { stat } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { RequestPlace } from '../http/request-tracker.js'
import { evaluate, rangeApplies, type Validators } from './conditions.js'
import { type FileDigests, wantsSha256 } from './file-digest.js'
import { folderPage } from './folder-page.js'
import { lookAt, openPart } from './haste.js'
import { parseRange } from './range.js'
import { Refusal } from './refusal.js'
import type { Progress, Session } from './session.js'

/** One request of a session. */
export interface Exchange {
  readonly session: Session
  readonly place: RequestPlace
  /** How far the node before us had come with it; null when it began here. */
  readonly progress: Progress | null
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

/** The path of a request, as a client wrote it and as a file, and what it asks of it. */
export interface Target {
  readonly path: string
  readonly file: string
  readonly query: URLSearchParams
}

/** What tells whether `info` is the same file as before. */
export function validatorsOf(info: fs.Stats): Validators {
  const parts = [info.ino, info.size, Math.floor(info.mtimeMs)]
  return { etag: `"${parts.map((part) => part.toString(16)).join('-')}"`, modified: info.mtimeMs }
}

/** Answers a GET or HEAD for `target`. Rejects with a Refusal, or as reading the file does. */
export async function download(
  exchange: Exchange,
  target: Target,
  digests: FileDigests,
): Promise<void> {
  const { session, place, progress, req, res } = exchange
  const info = await lookAt(target.file, progress !== null)
  if (info.isDirectory()) {
    if (!target.path.endsWith('/')) {
      // Only the last name, so that it holds behind whatever stands in front of the server.
      res.setHeader('Location', `${encodeURIComponent(basename(target.path))}/`)
      session.say(place, req, res, 301, 'a folder: its name ends with a slash\n')
      return
    }
    const index = join(target.file, 'index.html')
    const page = await stat(index).catch(() => null)
    if (page?.isFile() === true) {
      await sendFile(exchange, index, page, 'text/html; charset=utf-8')
      return
    }
    const text = await folderPage(target.file, target.path)
    session.say(place, req, res, 200, text, 'text/html; charset=utf-8')
    return
  }
  if (!info.isFile() || target.path.endsWith('/')) throw new Refusal(404, 'no such file')
  const { etag } = validatorsOf(info)
  if (target.query.has('sha256')) {
    const digest = await digests.of(target.file, etag)
    session.say(place, req, res, 200, `${digest.toString('hex')}  ${basename(target.file)}\n`)
    return
  }
  if (wantsSha256(req.headers['want-repr-digest'])) {
    const digest = await digests.of(target.file, etag)
    res.setHeader('Repr-Digest', `sha-256=:${digest.toString('base64')}:`)
  }
  await sendFile(exchange, target.file, info, 'application/octet-stream')
}

async function sendFile(
  { session, place, progress, req, res }: Exchange,
  file: string,
  info: fs.Stats,
  type: string,
): Promise<void> {
  const { socket } = session
  const validators = validatorsOf(info)
  const { etag } = validators
  if (progress?.etag !== undefined && progress.etag !== etag) {
    // Half of another file is worse than none.
    socket.resetAndDestroy()
    return
  }
  res.setHeader('ETag', etag)
  res.setHeader('Last-Modified', info.mtime.toUTCString())
  const outcome = evaluate(req.headers, validators, true)
  if (outcome === 'failed') throw new Refusal(412, `the file is ${etag} now`)
  if (outcome === 'not-modified') return session.say(place, req, res, 304, '')
  const applies = rangeApplies(req.headers['if-range'] as string | undefined, validators)
  const range = parseRange(applies ? req.headers.range : undefined, info.size)
  if (range.kind === 'unsatisfiable') {
    res.setHeader('Content-Range', `bytes */${info.size}`)
    throw new Refusal(416, `the file has ${info.size} octets`)
  }
  const first = range.kind === 'part' ? range.first : 0
  const last = range.kind === 'part' ? range.last : info.size - 1
  const length = last - first + 1
  if (range.kind === 'part') res.setHeader('Content-Range', `bytes ${first}-${last}/${info.size}`)
  const start = socket.outputOffset
  res.writeHead(range.kind === 'part' ? 206 : 200, {
    'Content-Type': type,
    'Content-Length': length,
    'Accept-Ranges': 'bytes',
  })
  res.flushHeaders()
  const body = req.method === 'HEAD' ? 0 : length
  if (progress?.end === undefined) {
    const date = String(res.getHeader('Date'))
    const state: Progress = { head: place.head, date, etag, end: socket.outputOffset + body }
    socket.commit(state, { input: place.bodyOffset, output: start })
  }
  const done = body === 0 ? 0 : skipSent(session, length)
  if (done >= body) {
    res.end()
    return
  }
  const { head, rest } = openPart(file, first + done, last, progress !== null)
  if (head !== null) res.write(head)
  if (rest !== null) await pipeline(rest, res)
  else res.end()
}

// Behind a take-over the stack holds what was sent and not acknowledged: the file is read from there on.
function skipSent({ socket, sent }: Session, length: number): number {
  const done = Math.min(Math.max(sent - socket.outputOffset, 0), length)
  if (done > 0) socket.skip(done)
  return done
}
