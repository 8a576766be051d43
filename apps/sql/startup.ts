/** How a connection begins: requests for encryption, which is not offered, a request to cancel, or a session. */
import { readStartup, type Startup } from './memory.js'
import { BodyReader, encode, SqlProtocolError, uint32 } from './wire.js'

const CANCEL = 80_877_102
const SSL = 80_877_103
const GSS = 80_877_104
const VERSION_3 = 0x3_0000

/** What the first message of a connection wants. `negotiated`: what the client is to be told of the version, or nothing. */
export type Opening =
  | { readonly kind: 'encryption' }
  | { readonly kind: 'cancel'; readonly process: number; readonly key: number }
  | { readonly kind: 'session'; readonly startup: Startup; readonly negotiated: Uint8Array }

/** Reads the body of a connection's first message. Throws SqlProtocolError. */
export function readOpening(body: Uint8Array): Opening {
  const reader = new BodyReader(body)
  const code = reader.int32()
  if (code === SSL || code === GSS) return { kind: 'encryption' }
  if (code === CANCEL) {
    return { kind: 'cancel', process: reader.int32() >>> 0, key: reader.int32() >>> 0 }
  }
  const version = code >>> 0
  if (version >>> 16 !== 3) {
    const asked = `${version >>> 16}.${version & 0xffff}`
    throw new SqlProtocolError(`unsupported frontend protocol ${asked}: there is 3.0`, '0A000')
  }
  const pairs: string[] = []
  for (let name = reader.text(); name !== ''; name = reader.text()) pairs.push(name, reader.text())
  reader.end()
  const startup = readStartup(pairs)
  if (startup.user === '') throw new SqlProtocolError('no PostgreSQL user name specified', '28000')
  const unknown = pairs.filter((name, i) => i % 2 === 0 && name.startsWith('_pq_.'))
  const plain = (version & 0xffff) === 0 && unknown.length === 0
  const negotiated = plain
    ? new Uint8Array(0)
    : encode('v', uint32(VERSION_3, unknown.length), ...unknown)
  return { kind: 'session', startup, negotiated }
}
