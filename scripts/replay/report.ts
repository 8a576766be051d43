/**
 * What `understudy replay` prints: one object for programs, a table for people.
 */
import type { TraceConnection, TraceEndpoint } from '../../cluster/trace-connection.js'
import type { TraceOffers, TraceStream } from '../../cluster/trace-stream.js'
import { TCP_STATE_NAMES } from '../../stack/tcp/state.js'
import { formatEndpoint, formatIpAddress } from '../../stack/wire/ip-address.js'
import type { Replayed, ReplayedConnection } from './replay.js'

const ABSENT = -1

/** The report as one JSON value. `bytes` and `sha256` are of the octets that came in order. */
export function replayJson(result: Replayed): Record<string, unknown> {
  const { file } = result
  return {
    connections: result.connections.map(connectionJson),
    frames: file.frames,
    customBlocks: file.customBlocks,
    format: file.format,
    octets: file.octets,
    cutOctets: file.cut,
    segments: result.segments,
    otherFrames: result.otherFrames,
    truncatedFrames: result.truncatedFrames,
    drops: dropsOf(result),
  }
}

function connectionJson({ connection, c2s, s2c }: ReplayedConnection): Record<string, unknown> {
  return {
    number: connection.number,
    client: endpoint(connection.client, '|'),
    server: endpoint(connection.server, '|'),
    c2s: streamJson(connection.c2s, c2s),
    s2c: streamJson(connection.s2c, s2c),
    final: connection.final,
    state: stateName(connection),
    verdict: connection.verdict,
    gapOctets: connection.gapLength,
    firstAt: connection.firstAt,
    lastAt: connection.lastAt,
  }
}

function streamJson(stream: TraceStream, sha256: string): Record<string, unknown> {
  return {
    bytes: stream.octets,
    sha256,
    options: offersJson(stream.offers),
    segments: stream.segments,
    retransmissions: stream.retransmissions,
    outOfOrder: stream.outOfOrder,
    hole: stream.hasHole,
    refused: stream.refused,
    fin: stream.finSeen,
  }
}

function offersJson(offers: TraceOffers | null): Record<string, unknown> {
  if (offers === null) return {}
  return {
    ...(offers.mss === ABSENT ? {} : { mss: offers.mss }),
    ...(offers.windowScale === ABSENT ? {} : { wscale: offers.windowScale }),
    ...(offers.sackPermitted ? { sackPermitted: true } : {}),
    ...(offers.timestamps ? { ts: true } : {}),
  }
}

/** The report for people. */
export function replayText(path: string, result: Replayed): string {
  const { file } = result
  const lines = [
    `${path}: ${file.format}, ${count(file.frames, 'frame')}, ${count(result.segments, 'TCP segment')}, ` +
      `${seconds(result.lastAt - result.firstAt)}, ${count(result.connections.length, 'connection')}`,
  ]
  for (const { connection } of result.connections) {
    lines.push('', ...connectionText(connection, result.firstAt))
  }
  const notes = [
    ...(result.otherFrames > 0 ? [`${count(result.otherFrames, 'frame')} not of IP`] : []),
    ...(result.truncatedFrames > 0
      ? [`${count(result.truncatedFrames, 'frame')} cut by the capture's snap length`]
      : []),
    ...(file.cut > 0 ? [`the file ends in the middle of a record (${file.cut} octets left)`] : []),
    ...Object.entries(dropsOf(result)).map(([reason, n]) => `${n} dropped: ${reason}`),
  ]
  if (notes.length > 0) lines.push('', ...notes)
  return lines.join('\n')
}

function connectionText(connection: TraceConnection, origin: number): string[] {
  const { client, server, c2s, s2c } = connection
  const at = (connection.firstAt - origin) / 1000
  const gap = connection.gapLength > 0 ? ` of ${connection.gapLength} octets` : ''
  return [
    `${connection.number}  ${endpoint(client, ':')} > ${endpoint(server, ':')}  ${connection.final}` +
      `  at ${at.toFixed(3)} s for ${seconds(connection.lastAt - connection.firstAt)}` +
      `  server ${stateName(connection)}  shadow ${connection.verdict}${gap}`,
    streamText('>', c2s),
    streamText('<', s2c),
  ]
}

function streamText(arrow: string, stream: TraceStream): string {
  const parts = [
    `${count(stream.octets, 'octet')} in ${count(stream.segments, 'segment')}`,
    ...(stream.retransmissions > 0 ? [`${stream.retransmissions} sent again`] : []),
    ...(stream.outOfOrder > 0 ? [`${stream.outOfOrder} out of order`] : []),
    ...(stream.hasHole ? ['a hole behind them'] : []),
    ...(stream.refused > 0 ? [`${stream.refused} refused`] : []),
    offersText(stream.offers),
  ]
  return `   ${arrow} ${parts.join(', ')}`
}

function offersText(offers: TraceOffers | null): string {
  if (offers === null) return 'no SYN in the trace'
  const parts = [
    ...(offers.mss === ABSENT ? [] : [`mss ${offers.mss}`]),
    ...(offers.windowScale === ABSENT ? [] : [`wscale ${offers.windowScale}`]),
    ...(offers.sackPermitted ? ['sackOK'] : []),
    ...(offers.timestamps ? ['TS'] : []),
  ]
  return `options [${parts.join(', ')}]`
}

function stateName(connection: TraceConnection): string {
  return connection.verdict === 'untracked'
    ? 'unknown'
    : (TCP_STATE_NAMES[connection.state] ?? 'unknown')
}

function endpoint({ address, port }: TraceEndpoint, separator: string): string {
  if (separator === ':') return formatEndpoint(address, port)
  return `${formatIpAddress(address)}${separator}${port}`
}

function dropsOf(result: Replayed): Record<string, number> {
  return result.drops.toJSON()
}

function count(n: number, thing: string): string {
  return `${n.toLocaleString('en-US')} ${thing}${n === 1 ? '' : 's'}`
}

function seconds(ms: number): string {
  return Number.isNaN(ms) ? '0 s' : `${(ms / 1000).toFixed(3)} s`
}
