/** SHA-256 of files, on request (RFC 9530): computed when it is asked for, and kept as long as the file is the same. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'

const MAX_KEPT = 1000

export class FileDigests {
  readonly #kept = new Map<string, Promise<Buffer>>()

  /** The digest of `file`, whose entity tag is `etag`. Rejects as reading it does. */
  of(file: string, etag: string): Promise<Buffer> {
    const key = `${etag} ${file}`
    let digest = this.#kept.get(key)
    if (digest === undefined) {
      digest = digestOf(file)
      digest.catch(() => this.#kept.delete(key))
      for (const oldest of this.#kept.keys()) {
        if (this.#kept.size < MAX_KEPT) break
        this.#kept.delete(oldest)
      }
      this.#kept.set(key, digest)
    }
    return digest
  }
}

async function digestOf(file: string): Promise<Buffer> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file, { highWaterMark: 1_048_576 }), hash)
  return hash.digest()
}

/** Whether a Want-Repr-Digest field asks for SHA-256 (RFC 9530 §4). */
export function wantsSha256(field: string | string[] | undefined): boolean {
  const wanted = /(?:^|,)\s*sha-256\s*=\s*(\d+)/i.exec(String(field ?? ''))?.[1]
  return wanted !== undefined && Number(wanted) > 0
}
