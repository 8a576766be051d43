/**
 * Metrics of a node for Prometheus (O3): gathered from its status at each scrape, so that between scrapes they cost nothing.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { DecisionLog, NodeStatus } from './node-status.js'

/** A registry whose values are what `status` says at the time of the scrape, and the process's own (event loop lag, memory). */
export function nodeMetrics(status: () => NodeStatus, log: DecisionLog): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const gauge = (name: string, help: string, labelNames: string[], set: Fill<Gauge>) =>
    new Gauge({
      name: `understudy_${name}`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        set(this, status())
      },
    })
  const counter = (name: string, help: string, labelNames: string[], set: Fill<Counter>) =>
    new Counter({
      name: `understudy_${name}_total`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        set(this, status())
      },
    })
  bindingMetrics(gauge)
  gauge('peers', 'Nodes heard of, by whether they are up', ['up'], (metric, { peers }) => {
    const up = peers.filter((peer) => peer.up).length
    metric.set({ up: 'true' }, up)
    metric.set({ up: 'false' }, peers.length - up)
  })
  counter('takeovers', 'Take-overs by this node, by cause', ['cause'], (metric) => {
    for (const [cause, count] of log.causes) metric.inc({ cause }, count)
  })
  counter('given_up', 'Connections a take-over could not save, by reason', ['reason'], (metric) => {
    for (const [reason, count] of log.givenUp) metric.inc({ reason }, count)
  })
  counter(
    'repairs',
    'Shadows that missed text, by what came of it',
    ['binding', 'result'],
    (metric, status) => {
      for (const { id, repairs } of status.bindings) {
        for (const [result, count] of Object.entries(repairs)) {
          metric.inc({ binding: String(id), result }, count)
        }
      }
    },
  )
  counter(
    'strict',
    'Strict mode: segments said to peers again (said), connections that went on without a peer (passedOver), acknowledgements with too few peers (unprotected), messages refused',
    ['binding', 'result'],
    (metric, status) => {
      for (const { id, strict } of status.bindings) {
        if (strict === null) continue
        const { said, passedOver, unprotected, refused } = strict
        for (const [result, count] of Object.entries({ said, passedOver, unprotected, refused })) {
          metric.inc({ binding: String(id), result }, count)
        }
      }
    },
  )
  counter('dropped_frames', 'Frames not taken, by reason', ['reason'], (metric, { drops }) => {
    for (const [reason, count] of Object.entries(drops)) metric.inc({ reason }, count)
  })
  counter('frames_heard', 'Frames the link carried past this node', [], (metric, status) => {
    metric.inc(status.framesHeard)
  })
  counter(
    'frames_missed',
    'Frames that came faster than this node took them',
    [],
    (metric, status) => {
      if (status.framesMissed !== null) metric.inc(status.framesMissed)
    },
  )
  counter(
    'frames_filtered',
    'Frames to stations that the filter leaves out',
    [],
    (metric, status) => {
      metric.inc(status.framesFiltered)
    },
  )
  takeoverMetrics(gauge)
  return registry
}

type Fill<Metric> = (metric: Metric, status: NodeStatus) => void
type MakeGauge = (name: string, help: string, labels: string[], set: Fill<Gauge>) => unknown

function bindingMetrics(gauge: MakeGauge): void {
  const each = (set: (metric: Gauge, id: string, of: NodeStatus['bindings'][number]) => void) => {
    return (metric: Gauge, { bindings }: NodeStatus) => {
      for (const of of bindings) set(metric, String(of.id), of)
    }
  }
  const label = ['binding']
  gauge(
    'owner',
    '1 while this node owns the binding',
    label,
    each((metric, binding, { state }) => metric.set({ binding }, state === 'owner' ? 1 : 0)),
  )
  gauge(
    'epoch',
    'Term of ownership that this node knows of',
    label,
    each((metric, binding, { epoch }) => metric.set({ binding }, epoch)),
  )
  gauge(
    'protected_percent',
    'Connections that could be taken over, as far as this node knows',
    label,
    each((metric, binding, { protectedPercent }) => {
      if (protectedPercent !== null) metric.set({ binding }, protectedPercent)
    }),
  )
  gauge(
    'strict_peers',
    'Strict mode: peers that confirm what this node acknowledges, and those that must',
    ['binding', 'which'],
    each((metric, binding, { strict }) => {
      if (strict === null) return
      metric.set({ binding, which: 'confirming' }, strict.confirming.length)
      metric.set({ binding, which: 'wanted' }, strict.peers)
    }),
  )
  gauge(
    'strict_waiting',
    'Strict mode: connections that have something that is not confirmed',
    label,
    each((metric, binding, { strict }) => {
      if (strict !== null) metric.set({ binding }, strict.waiting)
    }),
  )
  gauge(
    'connections',
    'Connections this node owns',
    label,
    each((metric, binding, { connections }) => metric.set({ binding }, connections)),
  )
  gauge(
    'shadows',
    'Connections this node shadows, by whether it could take them over',
    ['binding', 'verdict'],
    each((metric, binding, { shadows }) => {
      for (const [verdict, count] of Object.entries(shadows)) {
        metric.set({ binding, verdict }, count)
      }
    }),
  )
  gauge(
    'rtt_seconds',
    'Mean smoothed round-trip time of the connections told of',
    label,
    each((metric, binding, { told }) => {
      const known = told.flatMap(({ rttMs }) => (rttMs === null ? [] : [rttMs]))
      if (known.length === 0) return
      metric.set({ binding }, known.reduce((sum, ms) => sum + ms, 0) / known.length / 1000)
    }),
  )
}

function takeoverMetrics(gauge: MakeGauge): void {
  const last = (
    name: string,
    help: string,
    ms: (of: NodeStatus['takeovers'][number]) => number | null,
  ) =>
    gauge(`last_takeover_${name}_seconds`, help, ['cause'], (metric, { takeovers }) => {
      const takeover = takeovers.at(-1)
      const value = takeover === undefined ? null : ms(takeover)
      if (takeover !== undefined && value !== null) {
        metric.set({ cause: takeover.cause }, value / 1000)
      }
    })
  last('suspected', "From the owner's last sign of life to the suspicion", (of) => of.suspectedMs)
  last('fenced', "From the owner's last sign of life to the fence", (of) => of.fencedMs)
  last('claimed', "From the owner's last sign of life to the claim", (of) => of.claimedMs)
  last('answered', "From the owner's last sign of life to a client's answer", (of) => of.answeredMs)
}
