/** PUT: the body goes into a part file beside its place, which gets its name when it is whole. */
import * as fs from 'node:fs'
import { open, rename, stat } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { basename, dirname, join } from 'node:path'
import type { Socket } from '../../stack/socket/net.js'
import { evaluate } from './conditions.js'
import { type Exchange, type Target, validatorsOf } from './download.js'
import { Refusal } from './refusal.js'
import type { Progress } from './session.js'

/** Octets of an upload between two checkpoints: what a peer keeps of the input meanwhile. */
const CHECKPOINT_EVERY = 512 * 1024

/** Answers a PUT to `target`. Rejects with a Refusal, or as writing the file does. */
export async function upload(exchange: Exchange, target: Target): Promise<void> {
  const { session, place, progress, req, res } = exchange
  const isNew = progress?.part === undefined
  const start = isNew ? await begin(exchange, target) : progress
  const { bodyOffset = 0, bodyLength = 0, part = '' } = start
  const partFile = join(dirname(target.file), part)
  const { socket } = session
  let stored = start.stored ?? 0
  const commit = (done: number): void => {
    stored = done
    socket.commit({ ...start, stored }, { input: bodyOffset + stored, output: socket.outputOffset })
  }
  if (isNew) commit(0)
  if (stored < bodyLength || isNew) {
    await receive(req, socket, partFile, stored, bodyLength, commit, isNew)
  } else {
    req.resume()
  }
  // Nothing torn is ever seen under the file's name. After a take-over it may have happened already.
  await rename(partFile, target.file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' || isNew) throw error
  })
  const text = `stored ${stored} octets\n`
  session.say(place, req, res, start.replaces === true ? 200 : 201, text)
}

// Whether the upload is wanted is decided before any of it is taken.
async function begin({ place, req, res }: Exchange, { file }: Target): Promise<Progress> {
  if (place.bodyLength < 0) {
    res.setHeader('Connection', 'close')
    throw new Refusal(411, 'say how long the file is: an upload needs Content-Length')
  }
  if (req.headers['content-range'] !== undefined) {
    throw new Refusal(400, 'a file is stored whole: send it without Content-Range')
  }
  const folder = await stat(dirname(file)).catch(() => null)
  if (folder?.isDirectory() !== true)
    throw new Refusal(409, 'there is no such folder: make it first')
  const known = await stat(file).catch(() => null)
  if (known !== null && !known.isFile()) throw new Refusal(409, 'there is a folder of that name')
  const validators = known === null ? null : validatorsOf(known)
  if (evaluate(req.headers, validators, false) === 'failed') {
    const now = validators === null ? 'there is no such file' : `the file is ${validators.etag} now`
    throw new Refusal(412, now)
  }
  return {
    head: place.head,
    date: String(res.getHeader('Date')),
    stored: 0,
    bodyOffset: place.bodyOffset,
    bodyLength: place.bodyLength,
    replaces: known !== null,
    part: `.${basename(file)}.${process.pid}-${place.bodyOffset}-${Date.now()}.part`,
  }
}

/** Writes what comes behind the first `stored` octets, and calls `commit` with how many are in the file. */
async function receive(
  req: IncomingMessage,
  socket: Socket,
  partFile: string,
  stored: number,
  length: number,
  commit: (stored: number) => void,
  isNew: boolean,
): Promise<void> {
  // Written in place, never appended: octets behind the checkpoint come again.
  const handle = await open(partFile, isNew ? 'w' : 'r+')
  let end = stored
  try {
    let committed = stored
    for await (const chunk of req as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; ) {
        const { bytesWritten } = await handle.write(chunk, at, chunk.length - at, end)
        at += bytesWritten
        end += bytesWritten
      }
      if (end - committed >= CHECKPOINT_EVERY && end < length) {
        commit(end)
        committed = end
      }
    }
  } catch (error) {
    // The client went away; or the connection did, to another node, which goes on with the part.
    if (!isMoved(socket)) await fs.promises.rm(partFile, { force: true })
    throw error
  } finally {
    await handle.close()
  }
  commit(end)
}

function isMoved(socket: Socket): boolean {
  return (socket.errored as NodeJS.ErrnoException | null)?.code === 'ERR_CONNECTION_MOVED'
}
