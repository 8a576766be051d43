/**
 * What a person sees of the demo while it runs: on a terminal a few lines that are drawn over, elsewhere one plain line
 * for each thing that happens.
 */
import type { WriteStream } from 'node:tty'
import type { NodePhase } from './world.js'

/** What the picture shows besides the lines that stay. */
export interface Picture {
  readonly title: string
  readonly bytes: number
  readonly size: number
  readonly nodes: readonly { readonly id: number; readonly phase: NodePhase }[]
}

const DRAW_EVERY_MS = 100
const BAR_WIDTH = 40
const QUARTER = 0.25
const MARKS: Readonly<Record<NodePhase, string>> = {
  owner: '\u001b[32m* owner\u001b[0m',
  standby: 'standby',
  starting: 'starting',
  stopped: '\u001b[33mstopped\u001b[0m',
  dead: '\u001b[31mdead\u001b[0m',
}

export class Screen {
  readonly #out: NodeJS.WriteStream | WriteStream
  readonly #live: boolean
  #timer: NodeJS.Timeout | undefined
  #picture: (() => Picture) | undefined
  #drawn = 0
  #quarter = 0
  #lastBytes = 0
  #lastAt = 0
  #rate = 0

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    this.#live = out.isTTY === true
  }

  /** A line that stays. */
  say(line: string): void {
    this.#erase()
    this.#out.write(`${line}\n`)
    this.#draw()
  }

  /** Shows `picture` again and again until {@link hide}. */
  show(picture: () => Picture): void {
    this.hide()
    this.#picture = picture
    this.#quarter = 0
    this.#lastBytes = 0
    this.#lastAt = 0
    this.#rate = 0
    this.#timer = setInterval(() => this.#tick(), DRAW_EVERY_MS)
  }

  hide(): void {
    clearInterval(this.#timer)
    this.#erase()
    this.#picture = undefined
  }

  #tick(): void {
    if (this.#live) {
      this.#erase()
      this.#draw()
      return
    }
    const picture = this.#picture?.()
    if (picture === undefined) return
    const quarter = Math.floor(picture.bytes / picture.size / QUARTER)
    if (quarter <= this.#quarter || quarter >= 1 / QUARTER) return
    this.#quarter = quarter
    this.#out.write(`  ${picture.title}: ${quarter * QUARTER * 100} % of ${mib(picture.size)}\n`)
  }

  #erase(): void {
    if (this.#drawn === 0) return
    this.#out.write(`\u001b[${this.#drawn}A\u001b[J`)
    this.#drawn = 0
  }

  #draw(): void {
    const picture = this.#picture?.()
    if (picture === undefined || !this.#live) return
    const done = Math.min(1, picture.bytes / picture.size)
    const filled = Math.round(done * BAR_WIDTH)
    const bar = '#'.repeat(filled) + '-'.repeat(BAR_WIDTH - filled)
    const percent = String(Math.floor(done * 100)).padStart(3)
    const nodes = picture.nodes.map(({ id, phase }) => `node ${id} ${MARKS[phase]}`).join('   ')
    this.#measureRate(picture.bytes)
    this.#out.write(
      `  ${picture.title} [${bar}] ${percent} %  ${mib(picture.bytes)}  ${this.#rate.toFixed(0)} MiB/s\n`,
    )
    this.#out.write(`  ${nodes}\n`)
    this.#drawn = 2
  }

  #measureRate(bytes: number): void {
    const now = performance.now()
    const seconds = (now - this.#lastAt) / 1000
    if (seconds < 0.5) return
    if (this.#lastAt > 0) this.#rate = (bytes - this.#lastBytes) / seconds / 1_048_576
    this.#lastBytes = bytes
    this.#lastAt = now
  }
}

/** Octets as mebibytes, for people. */
export function mib(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MiB`
}
