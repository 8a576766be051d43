/**
 * The results as a chart (SVG): a bar for each, as long as its ratio to its reference, on a logarithmic scale. It follows the reader's
 * choice of light or dark, and stands by itself.
 */
import type { Result } from './measures.js'

const ROW = 24
const LEFT = 210
const WIDTH = 420
const RIGHT = 250
const TOP = 56
/** Ratios at the two ends of the scale. */
const LEAST = 1 / 16
const MOST = 16
const MARKS = [1 / 16, 1 / 4, 1, 4, 16]

/** Results of which less is better: times and octets. */
function lessIsBetter({ unit }: Result): boolean {
  return unit === 'us' || unit === 'ms' || unit === 'octets' || unit === 'ns/octet'
}

/** The chart of those `results` that have a ratio. `title` says what machine, and when. */
export function chart(results: readonly Result[], title: string): string {
  const shown = results.filter(({ ratio }) => ratio !== null && ratio > 0)
  const height = TOP + shown.length * ROW + 40
  const rows = shown.map((result, index) => row(result, TOP + index * ROW))
  const marks = MARKS.map((ratio) => {
    const x = place(ratio)
    const label = ratio < 1 ? `1/${1 / ratio}` : String(ratio)
    return `<line class="mark${ratio === 1 ? ' one' : ''}" x1="${x}" x2="${x}" y1="${TOP - 8}" y2="${height - 34}"/>
<text class="scale" x="${x}" y="${height - 18}">${label}</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${LEFT + WIDTH + RIGHT} ${height}" role="img" aria-label="${escaped(title)}">
<style>
  text { font: 13px system-ui, sans-serif; fill: #222 }
  .title { font-weight: 600; font-size: 15px }
  .name { text-anchor: end }
  .scale { text-anchor: middle; font-size: 11px }
  .mark { stroke: #8884 } .one { stroke: #888 }
  .good { fill: #2a7f62 } .bad { fill: #c9752d }
  @media (prefers-color-scheme: dark) { text { fill: #ddd } .good { fill: #4db892 } .bad { fill: #e79a58 } }
</style>
<text class="title" x="12" y="20">${escaped(title)}</text>
<text x="12" y="38">Ratio to the reference. Green: as good or better. (o) with the device's offload.</text>
${marks.join('\n')}
${rows.join('\n')}
</svg>
`
}

function row(result: Result, y: number): string {
  const { name, offload, ratio, ours, unit, referenceName } = result
  const value = ratio ?? 1
  const [from, to] = [place(Math.min(value, 1)), place(Math.max(value, 1))]
  const good = lessIsBetter(result) ? value <= 1 : value >= 1
  const said = `${value.toPrecision(2)} of ${referenceName ?? ''}, ${Number(ours.toPrecision(3))} ${unit}`
  return `<text class="name" x="${LEFT - 12}" y="${y + 16}">${escaped(name)}${offload ? ' (o)' : ''}</text>
<rect class="${good ? 'good' : 'bad'}" x="${from}" y="${y + 5}" width="${Math.max(to - from, 1)}" height="${ROW - 10}" rx="2"/>
<text x="${LEFT + WIDTH + 10}" y="${y + 16}">${escaped(said)}</text>`
}

function place(ratio: number): number {
  const held = Math.min(Math.max(ratio, LEAST), MOST)
  const share = Math.log(held / LEAST) / Math.log(MOST / LEAST)
  return Math.round((LEFT + share * WIDTH) * 10) / 10
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}
