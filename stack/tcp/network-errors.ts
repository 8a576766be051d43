// hot path: no allocation per frame
/**
 * NetworkErrors: what ICMP says about segments of ours (RFC 9293 §3.9.2.2, RFC 5927). Anybody can say it, so it must quote
 * a sequence number that is in flight, and a connection that is established is not torn down by it (RFC 5461).
 */
import { lt, type Seq } from '../base/seq.js'
import type { Millis } from '../base/time.js'
import type { Connection } from './connection.js'
import type { Demux } from './demux.js'
import { PathTable } from './path-table.js'
import { isSynchronized, TcpState } from './state.js'
import type { TouchedQueue } from './touched-queue.js'

export class NetworkErrors {
  readonly paths = new PathTable()
  readonly #demux: Demux
  readonly #touched: TouchedQueue

  constructor(demux: Demux, touched: TouchedQueue) {
    this.#demux = demux
    this.#touched = touched
  }

  /**
   * The peer cannot be reached, says an error that quotes sequence number `at`. It ends a connection that is being opened
   * (RFC 1122 §4.2.3.9); another keeps it for the case that its peer never answers (MUST-56, SHLD-25). False: not believed.
   */
  handleUnreachable(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    at: Seq,
    error: string,
  ): boolean {
    const connection = this.#demux.find(local, localPort, remote, remotePort)
    if (connection === undefined) return false
    if (connection.state === TcpState.SYN_SENT) {
      if (connection.tcb.iss !== at) return false
      connection.fail(error)
      return true
    }
    if (!isInFlight(connection, at)) return false
    connection.softError = error
    return true
  }

  /**
   * A segment of ours with sequence number `at` was too long for its path: `mss` octets, options included, fit (T7). False when
   * it quotes nothing that is in flight (RFC 5927 §7).
   */
  handlePathMss(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    at: Seq,
    mss: number,
    now: Millis,
  ): boolean {
    const connection = this.#demux.find(local, localPort, remote, remotePort)
    if (connection === undefined || !isInFlight(connection, at)) return false
    this.paths.learn(remote, mss, now)
    connection.sender.handlePathMss(connection.tcb, mss, now)
    this.#touched.push(connection)
    return true
  }
}

function isInFlight(connection: Connection, at: Seq): boolean {
  const { state, tcb } = connection
  return isSynchronized(state) && !lt(at, tcb.sndUna) && lt(at, tcb.sndNxt)
}
