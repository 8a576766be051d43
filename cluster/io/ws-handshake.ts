/**
 * The mutual proof that opens a control channel: a challenge-response with HMAC-SHA256 under the cluster's key.
 *
 *   dialler   -> HELLO   from, to, cluster, nonce
 *   listener  -> ANSWER  nonce, proof('listener')
 *   dialler   -> PROOF   proof('dialler')
 *   listener  -> READY
 *
 * Each proof covers the role, both ids, the cluster and both nonces, so none can be reflected or used again. What follows
 * is as safe as the TCP connection: the proof keeps strangers out, it does not hide or seal the messages.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

export const NONCE_LENGTH = 32

/** What both sides have said so far. */
export interface Transcript {
  readonly cluster: string
  readonly dialler: number
  readonly listener: number
  readonly diallerNonce: string
  readonly listenerNonce: string
}

export type HandshakeMessage =
  | {
      readonly type: 'hello'
      readonly version: 1
      readonly cluster: string
      readonly from: number
      readonly to: number
      readonly nonce: string
    }
  | { readonly type: 'answer'; readonly nonce: string; readonly proof: string }
  | { readonly type: 'proof'; readonly proof: string }
  | { readonly type: 'ready' }

/** Octets of a message of the handshake at most. */
export const MAX_HANDSHAKE = 1024

const HEX_256 = /^[0-9a-f]{64}$/

export function newNonce(): string {
  return randomBytes(NONCE_LENGTH).toString('hex')
}

/** The proof of one role, as 64 hexadecimal digits. */
export function proofOf(key: Uint8Array, role: 'dialler' | 'listener', said: Transcript): string {
  // JSON keeps the fields apart, whatever the name of the cluster is.
  const { cluster, dialler, listener, diallerNonce, listenerNonce } = said
  const text = JSON.stringify([1, role, cluster, dialler, listener, diallerNonce, listenerNonce])
  return createHmac('sha256', key).update(text).digest('hex')
}

/** Compares in constant time. */
export function sameProof(expected: string, given: string): boolean {
  return timingSafeEqual(Buffer.from(expected, 'latin1'), Buffer.from(given, 'latin1'))
}

/** The message in `bytes`, or null when it is none: wrong type, wrong field, too long. */
export function parseHandshake(bytes: Uint8Array): HandshakeMessage | null {
  if (bytes.length > MAX_HANDSHAKE) return null
  let message: Record<string, unknown>
  try {
    message = JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>
  } catch {
    return null
  }
  if (typeof message !== 'object' || message === null) return null
  return isHandshake(message) ? (message as HandshakeMessage) : null
}

function isHandshake(message: Record<string, unknown>): boolean {
  const { type, version, cluster, from, to, nonce, proof } = message
  const isHex = (text: unknown) => typeof text === 'string' && HEX_256.test(text)
  if (type === 'ready') return true
  if (type === 'proof') return isHex(proof)
  if (type === 'answer') return isHex(nonce) && isHex(proof)
  if (type !== 'hello' || version !== 1) return false
  return (
    Number.isSafeInteger(from) &&
    Number.isSafeInteger(to) &&
    typeof cluster === 'string' &&
    isHex(nonce)
  )
}
