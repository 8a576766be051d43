/**
 * The post-mortem of take-overs in prose (O3): what `understudy explain` prints, from what a node remembers or from the JSON lines that
 * it printed.
 */
import type { GivenUp, NodeReport } from '../../cluster/index.js'

/** One event of a node, with milliseconds of the Unix epoch. */
export interface Told {
  readonly at: number
  readonly report: NodeReport
}

type Takeover = Extract<NodeReport, { event: 'takeover' }>

// Decisions before a take-over that belong to its story.
const BEFORE_MS = 10_000

const CAUSES: Readonly<Record<Takeover['cause'], string>> = {
  eof: 'its process had ended: the kernel closed its control channel',
  silence:
    'nothing had been heard of it for longer than timing.silenceMs: it was stopped, or cut off',
  stuck: 'its event loop had been stuck for longer than timing.stuckMs, although its process lived',
  boot: 'it had not claimed the address when this node started',
  yield: 'it handed the address over on command',
}

const REASONS: Readonly<Record<GivenUp, string>> = {
  untracked: 'of which this node had not heard the beginning, nor been told',
  gap: 'of which it had missed octets that the client will not send again',
  'input-lost': 'of which octets that the application still needed were not here any more',
  'output-lost': 'of which octets that the client had not acknowledged were not here',
  'no-checkpoint':
    'that have said more than is kept, and of which the application had stored no checkpoint',
  'no-partner': 'of a proxy, of whose other side this node knew nothing',
  'partner-lost': 'of a proxy, whose other side could not go on',
}

/** The paragraphs on each take-over of `story`, the oldest first; none when there was none. `node` is who tells. */
export function explainTakeovers(story: readonly Told[], node: number): string[] {
  return story.flatMap(({ at, report }, i) =>
    report.event === 'takeover' ? [explain(report, at, story.slice(0, i), node)] : [],
  )
}

function explain(takeover: Takeover, at: number, before: readonly Told[], node: number): string {
  const { binding, from, to, epoch, cause } = takeover
  const earlier = before.filter((each) => at - each.at <= BEFORE_MS).map((each) => line(each, at))
  return [
    `${new Date(at).toISOString()}: node ${to} took binding ${binding} over from node ${from}, in term ${epoch}.`,
    `  Why: ${CAUSES[cause]}.`,
    `  How long: ${duration(takeover)}.`,
    `  Connections: ${connections(takeover)}.`,
    ...(earlier.length === 0 ? [] : [`  What node ${node} saw before:`, ...earlier]),
  ].join('\n')
}

function duration({ cause, silentMs, fencedMs, ms }: Takeover): string {
  const whole = Math.max(silentMs, 0) + ms
  if (cause === 'yield') {
    return `the address was claimed ${whole.toFixed(1)} ms behind the last word of the old owner, who spoke until then`
  }
  const steps = [
    `${Math.max(silentMs, 0).toFixed(1)} ms until the old owner was suspected`,
    `${fencedMs.toFixed(1)} ms until its port was shut`,
    `${Math.max(ms - fencedMs, 0).toFixed(1)} ms to promote the shadows and claim the address`,
  ]
  return `${whole.toFixed(1)} ms from its last sign of life to the claim: ${steps.join(', ')}`
}

function connections({ connections: all, promoted, givenUp, midStream }: Takeover): string {
  if (all === 0) return 'there were none'
  const lost = Object.entries(givenUp).map(
    ([reason, count]) =>
      `${count} could not go on, ${REASONS[reason as GivenUp] ?? reason} (${reason})`,
  )
  const within = midStream === 0 ? '' : `, ${midStream} of them with octets under way`
  const reset = lost.length === 0 ? '' : `; ${lost.join('; ')}. Their clients were reset at once`
  return `${promoted} of ${all} went on${within}${reset}`
}

function line({ at, report }: Told, end: number): string {
  const { event, ...rest } = report
  const fields = Object.entries(rest).map(([name, value]) => `${name} ${JSON.stringify(value)}`)
  return `    ${String(Math.round(at - end)).padStart(6)} ms  ${event} ${fields.join(', ')}`
}

/** The events in `text`, JSON lines as a node prints them; other lines are passed over. With the node's id, if it says. */
export function readStory(text: string): { readonly story: Told[]; readonly node: number } {
  const story: Told[] = []
  let node = 0
  for (const each of text.split('\n')) {
    const event = parseLine(each)
    if (event === null) continue
    const { at, ...report } = event
    if (report.event === 'ready') node = Number(report.id)
    else story.push({ at, report: report as unknown as NodeReport })
  }
  return { story, node }
}

interface Line {
  readonly event: string
  readonly at: number
  readonly [field: string]: unknown
}

function parseLine(text: string): Line | null {
  if (!text.startsWith('{')) return null
  try {
    const value = JSON.parse(text) as Partial<Line>
    return typeof value.event === 'string' && typeof value.at === 'number' ? (value as Line) : null
  } catch {
    // A node that was killed leaves half a line.
    return null
  }
}
