/**
 * The frames of a capture file on disk, compressed by gzip or not, in constant memory.
 */
import { closeSync, createReadStream, fstatSync, openSync, readSync } from 'node:fs'
import { createGunzip } from 'node:zlib'
import { StackError } from '../../stack/base/errors.js'
import { CaptureReader, type CaptureRecord } from '../../stack/link/capture-reader.js'

/** What was read of a file. */
export interface CaptureSummary {
  readonly format: string
  /** Records of the capture, as Wireshark numbers them: frames and custom blocks. */
  readonly frames: number
  /** How many of them are custom blocks of pcapng, which are not of the wire. */
  readonly customBlocks: number
  /** Octets of the file, as read from disk. */
  readonly octets: number
  /** Octets behind the last whole record: the capture was interrupted. */
  readonly cut: number
}

const PIECE = 1024 * 1024

/**
 * Calls `onFrame` with each frame of the file; the record is borrowed. `onProgress` hears how much of the file has been read,
 * 0 to 1, once per piece.
 *
 * Throws ERR_CAPTURE_FILE when the file cannot be read, ERR_INVALID_CAPTURE when it is damaged.
 */
export async function readCaptureFile(
  path: string,
  onFrame: (record: CaptureRecord) => void,
  onProgress: (share: number) => void = () => undefined,
): Promise<CaptureSummary> {
  const reader = new CaptureReader()
  let frames = 0
  let octets = 0
  const take = (piece: Uint8Array): void => {
    reader.push(piece)
    for (let record = reader.next(); record !== null; record = reader.next()) {
      frames++
      onFrame(record)
    }
  }
  const { size, compressed } = look(path)
  if (compressed) {
    const source = createReadStream(path, { highWaterMark: PIECE })
    source.on('data', (piece) => {
      octets += piece.length
      onProgress(octets / size)
    })
    for await (const piece of source.pipe(createGunzip())) take(piece as Uint8Array)
  } else {
    for (const piece of pieces(path)) {
      octets += piece.length
      take(piece)
      onProgress(octets / size)
    }
  }
  const { format, customBlocks } = reader
  return { format, frames: frames + customBlocks, customBlocks, octets, cut: reader.pending }
}

function look(path: string): { size: number; compressed: boolean } {
  const fd = open(path)
  try {
    const { size } = fstatSync(fd)
    const magic = Buffer.alloc(2)
    readSync(fd, magic, 0, 2, 0)
    return { size: Math.max(size, 1), compressed: magic.readUInt16BE() === 0x1f8b }
  } catch (error) {
    throw unreadable(path, error)
  } finally {
    closeSync(fd)
  }
}

// Every piece is borrowed: the next one lies in the same memory.
function* pieces(path: string): Generator<Uint8Array> {
  const fd = open(path)
  const piece = new Uint8Array(PIECE)
  try {
    for (;;) {
      const length = readSync(fd, piece)
      if (length === 0) return
      yield piece.subarray(0, length)
    }
  } finally {
    closeSync(fd)
  }
}

function open(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw unreadable(path, error)
  }
}

function unreadable(path: string, error: unknown): StackError {
  const reason = (error as NodeJS.ErrnoException).code ?? String(error)
  const hint =
    reason === 'ENOENT'
      ? 'there is no such file'
      : reason === 'EISDIR'
        ? 'it is a folder; name a pcap or pcapng file'
        : reason
  return new StackError('ERR_CAPTURE_FILE', `cannot read '${path}': ${hint}`)
}
