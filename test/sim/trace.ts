/**
 * Trace: what happened in a run, as text in the manner of tcpdump when it is kept, and always as a hash: the fingerprint by
 * which two runs of one seed are compared (law 7).
 */
import type { Frame } from '../../stack/index.js'
import { prettyFrame } from '../../stack/wire/pretty.js'

const MAX_LINES = 200_000

export class Trace {
  readonly keep: boolean
  readonly lines: string[] = []
  #hash = 0x811c9dc5 | 0

  constructor(keep: boolean) {
    this.keep = keep
  }

  get fingerprint(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0')
  }

  /** A frame that entered the bridge by the port `from`. */
  frame(now: number, index: number, from: string, frame: Frame): void {
    const { view, start, end } = frame
    this.#mix(Math.round(now * 1000))
    this.#mix(end - start)
    // Addresses, IP, TCP and its options; the text is covered by its checksum.
    const stop = Math.min(end, start + 70) - 3
    for (let at = start; at < stop; at += 4) this.#mix(view.getInt32(at))
    if (this.keep) this.#line(now, `#${index} ${from}: ${prettyFrame(frame)}`)
  }

  /** Anything else worth telling. */
  note(now: number, text: string): void {
    this.#mix(Math.round(now * 1000))
    for (let i = 0; i < text.length; i++) this.#mix(text.charCodeAt(i))
    if (this.keep) this.#line(now, `-- ${text}`)
  }

  #line(now: number, text: string): void {
    if (this.lines.length < MAX_LINES) this.lines.push(`${now.toFixed(3).padStart(10)} ${text}`)
  }

  #mix(word: number): void {
    this.#hash = Math.imul(this.#hash ^ word, 0x01000193) ^ (word >>> 13)
  }
}
