/** Charts of the page, as SVG elements: a line over the last minute, and the time line of a take-over. */

const SVG = 'http://www.w3.org/2000/svg'
const POINTS = 300

/** An SVG element with attributes. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value))
  element.append(...children)
  return element
}

/** A line of one quantity; `format` writes its last value. */
export class Chart {
  constructor(title, format) {
    this.format = format
    this.points = []
    this.value = document.createElement('strong')
    this.area = svg('path', { class: 'area' })
    this.line = svg('path', { class: 'line' })
    const picture = svg(
      'svg',
      { viewBox: '0 0 300 72', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
      this.area,
      this.line,
    )
    const caption = document.createElement('figcaption')
    caption.append(title, this.value)
    this.figure = document.createElement('figure')
    this.figure.append(caption, picture)
  }

  add(value) {
    this.points.push(value)
    if (this.points.length > POINTS) this.points.shift()
    const most = Math.max(...this.points, 1e-9)
    const from = POINTS - this.points.length
    const at = (each, i) => `${from + i},${(70 - (each / most) * 64).toFixed(1)}`
    const path = this.points.map(at).join(' L')
    this.line.setAttribute('d', `M${path}`)
    this.area.setAttribute('d', `M${from},71 L${path} L${POINTS - 1},71 Z`)
    this.value.textContent = this.format(value)
  }
}

/** The stretches of a take-over, from the old owner's last sign of life to a client's answer, side by side. */
export function timeline(takeover) {
  const { suspectedMs, fencedMs, claimedMs, answeredMs } = takeover
  const stretches = [
    ['silence until suspected', 0, suspectedMs, 'var(--bar1)'],
    ['fence', suspectedMs, fencedMs, 'var(--bar2)'],
    ['promotion, ARP and claim', fencedMs, claimedMs, 'var(--bar3)'],
    ['until a client answered', claimedMs, answeredMs ?? claimedMs, 'var(--bar4)'],
  ]
  const end = Math.max(answeredMs ?? claimedMs, 0.1)
  const scale = (ms) => (ms / end) * 600
  const picture = svg('svg', {
    viewBox: '0 0 600 24',
    preserveAspectRatio: 'none',
    'aria-hidden': 'true',
  })
  for (const [, from, to, fill] of stretches) {
    const width = Math.max(scale(to) - scale(from), to > from ? 2 : 0)
    picture.append(svg('rect', { x: scale(from), y: 0, width, height: 24, fill }))
  }
  const ends = document.createElement('div')
  ends.className = 'ends'
  for (const ms of [0, end]) {
    const label = document.createElement('span')
    label.textContent = `${ms.toFixed(1)} ms`
    ends.append(label)
  }
  const list = document.createElement('dl')
  for (const [name, from, to, fill] of stretches) {
    const term = document.createElement('dt')
    const mark = svg(
      'svg',
      { width: 10, height: 10, viewBox: '0 0 10 10', class: 'key', 'aria-hidden': 'true' },
      svg('rect', { width: 10, height: 10, fill }),
    )
    term.append(mark, name)
    const value = document.createElement('dd')
    const waiting = name.startsWith('until') && answeredMs === null
    value.textContent = waiting ? 'no answer yet' : `${(to - from).toFixed(1)} ms`
    list.append(term, value)
  }
  return [picture, ends, list]
}
