/**
 * Workload: what the clients of a run do: which streams they ask for, how fast they read and write, when they end their side.
 */
import type { Millis } from '../../stack/index.js'
import { type Kind, PORTS } from './app.js'
import type { Prng } from './prng.js'
import { FNV_BASIS, fillPattern, fnv } from './prng.js'

/** One connection of a client. */
export interface StreamSpec {
  readonly kind: Kind
  readonly port: number
  /** All that the client writes. */
  readonly input: Uint8Array
  /** All that it must read. */
  readonly output: Uint8Array
  /** When it connects, behind the cluster's start. */
  readonly startAt: Millis
  readonly readMax: number
  readonly readEvery: Millis
  readonly writeMax: number
  readonly writeEvery: Millis
  /** It stops reading at this offset for a while, so that its window closes. */
  readonly sleepsAt: number
  readonly sleepMs: Millis
  /** It ends its side with its last octet, not only when it has read everything. */
  readonly endsEarly: boolean
}

/** The spec of one stream of `length` octets, as fast as it goes. */
export function stream(kind: Kind, seed: number, length: number, startAt: Millis): StreamSpec {
  const text = new Uint8Array(length)
  fillPattern(seed, 0, text, 0, length)
  const { input, output } = texts(kind, seed, text)
  return {
    kind,
    port: PORTS[kind],
    input,
    output,
    startAt,
    readMax: 65_536,
    readEvery: 0,
    writeMax: 65_536,
    writeEvery: 0,
    sleepsAt: -1,
    sleepMs: 0,
    endsEarly: false,
  }
}

function texts(
  kind: Kind,
  seed: number,
  text: Uint8Array,
): { input: Uint8Array; output: Uint8Array } {
  if (kind === 'download') {
    return { input: Buffer.from(`GET ${seed} ${text.length}\n`), output: text }
  }
  if (kind === 'upload') {
    const hash = fnv(FNV_BASIS, text, 0, text.length) >>> 0
    const head = Buffer.from(`PUT ${seed} ${text.length}\n`)
    return { input: Buffer.concat([head, text]), output: Buffer.from(`OK ${hash.toString(16)}\n`) }
  }
  return { input: text, output: kind === 'echo' ? text : text.map((octet) => octet ^ 0xa5) }
}

/** A random stream. */
export function randomStream(random: Prng): StreamSpec {
  const kind = random.pick(['download', 'download', 'upload', 'upload', 'echo', 'replay'] as const)
  const length = 1 + Math.floor(1000 * 200 ** random.unit())
  const spec = stream(kind, random.u32() | 0, length, random.between(350, 1200))
  // Most streams are paced to last long enough for a fault to fall into them.
  const lasts = random.chance(0.2) ? 0 : random.between(100, 2500)
  const every = random.pick([1, 5, 20, 60])
  const step = Math.max(Math.ceil((length * every) / Math.max(lasts, 1)), 20)
  const paced = lasts > 0
  const sleeps = random.chance(0.2)
  return {
    ...spec,
    readMax: paced ? step : 65_536,
    readEvery: paced ? every : 0,
    writeMax: paced ? step : 1 + random.below(65_536),
    writeEvery: paced ? every : 0,
    sleepsAt: sleeps ? random.below(length) : -1,
    sleepMs: sleeps ? random.between(50, 1500) : 0,
    endsEarly: kind === 'echo' || kind === 'replay' || random.chance(0.3),
  }
}
