/**
 * Totals: what many runs were about, added up.
 */
import type { RunResult } from './scenario.js'

export interface Totals {
  seeds: number
  connections: number
  done: number
  takeovers: number
  midStream: number
  passed: number
  returned: number
  gaps: number
  /** Shadows that got what they had missed, those that did not, and connections that waited for it at a take-over. */
  repaired: number
  vain: number
  rescued: number
  shadowChecks: number
  recordChecks: number
  steps: number
  violations: number
  /** Connections that a node gave up while their client was still there. */
  cut: number
  readonly givenUp: Record<string, number>
}

export function newTotals(): Totals {
  return {
    seeds: 0, connections: 0, done: 0, takeovers: 0, midStream: 0, passed: 0, returned: 0, gaps: 0, repaired: 0, vain: 0, rescued: 0, shadowChecks: 0,
    recordChecks: 0, steps: 0, violations: 0, cut: 0, givenUp: {},
  } // biome-ignore format: a list is read as a list
}

/** Adds one run. */
export function addCounts(totals: Totals, { counts, steps, violations }: RunResult): void {
  totals.seeds++
  totals.connections += counts.connections
  totals.done += counts.done
  totals.takeovers += counts.takeovers
  totals.midStream += counts.midStream
  totals.passed += counts.passed
  totals.returned += counts.returned
  totals.gaps += counts.gaps
  totals.repaired += counts.repaired
  totals.vain += counts.vain
  totals.rescued += counts.rescued
  totals.shadowChecks += counts.shadowChecks
  totals.recordChecks += counts.recordChecks
  totals.cut += counts.cut
  totals.steps += steps
  if (violations.length > 0) totals.violations++
  for (const [reason, count] of Object.entries(counts.givenUp)) {
    totals.givenUp[reason] = (totals.givenUp[reason] ?? 0) + count
  }
}

/** Adds the totals of another worker. */
export function addTotals(totals: Totals, other: Totals): void {
  totals.seeds += other.seeds
  totals.connections += other.connections
  totals.done += other.done
  totals.takeovers += other.takeovers
  totals.midStream += other.midStream
  totals.passed += other.passed
  totals.returned += other.returned
  totals.gaps += other.gaps
  totals.repaired += other.repaired
  totals.vain += other.vain
  totals.rescued += other.rescued
  totals.shadowChecks += other.shadowChecks
  totals.recordChecks += other.recordChecks
  totals.cut += other.cut
  totals.steps += other.steps
  totals.violations += other.violations
  for (const [reason, count] of Object.entries(other.givenUp)) {
    totals.givenUp[reason] = (totals.givenUp[reason] ?? 0) + count
  }
}
