/**
 * What every simulated cluster has in common: its virtual address, its binding, and its keys.
 */
import type { Authenticator } from '../../cluster/authenticator.js'
import { parseBinding } from '../../cluster/index.js'
import { parseIpAddress } from '../../stack/index.js'
import { FNV_BASIS, fnv } from './prng.js'

export const VIRTUAL_ADDRESS = parseIpAddress('10.0.0.100')
export const CLIENT_ADDRESS = parseIpAddress('10.0.0.1')
/** The server behind a proxy. */
export const SERVER_ADDRESS = parseIpAddress('10.0.0.2')
export const SERVER_MAC = 0x02000000bb01
export const CLIENT_MAC = 0x02000000aa01
export const BINDING = parseBinding(1, '10.0.0.100/24')
export const SECRET = Int32Array.from([0x12345678, -2, 77, 4])

/** A tag that notices damage; nobody here lies. */
export const AUTHENTICATOR: Authenticator = {
  tagLength: 4,
  sign(message, into, at) {
    new DataView(into.buffer, into.byteOffset).setInt32(
      at,
      fnv(FNV_BASIS, message, 0, message.length),
    )
  },
  verify(message, tag) {
    const expected = fnv(FNV_BASIS, message, 0, message.length)
    return new DataView(tag.buffer, tag.byteOffset).getInt32(0) === expected
  },
}
