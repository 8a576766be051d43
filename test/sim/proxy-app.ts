/**
 * ProxyApp: the application of a node whose clients are served by another machine: the proxy of `apps/proxy`, one for each port.
 */
import { DEFAULT_PROXY_OPTIONS, PermanentProxy } from '../../apps/proxy/proxy.js'
import type { Connection, Millis } from '../../stack/index.js'
import { type App, PORTS } from './app.js'
import type { NodeHost } from './host.js'
import { SERVER_ADDRESS, VIRTUAL_ADDRESS } from './place.js'

interface Sink {
  handleReady(events: number): void
}

export class ProxyApp implements App {
  readonly proxies: readonly PermanentProxy[]
  readonly #host: NodeHost

  constructor(host: NodeHost) {
    this.#host = host
    this.proxies = Object.values(PORTS).map((port) => {
      const to = { toAddress: SERVER_ADDRESS, toPort: port }
      const { header } = host.site
      const options = { ...DEFAULT_PROXY_OPTIONS, address: VIRTUAL_ADDRESS, port, ...to, header }
      return new PermanentProxy({ stack: host.stack, now: () => host.now }, options, (report) =>
        host.site.world.note(`n${host.id}'s proxy :${port} ${JSON.stringify(report)}`),
      )
    })
  }

  /** To be said before anything is overheard. */
  declare(): void {
    for (const { options } of this.proxies) {
      const { address, port, toAddress, toPort, header } = options
      const target = { address: toAddress, port: toPort }
      const named = header === null ? target : { ...target, header }
      this.#host.node.addProxy(address, port, named)
    }
  }

  nextDeadline(): Millis {
    return Math.min(...this.proxies.map((proxy) => proxy.nextDeadline()))
  }

  dispatch(now: Millis): void {
    const { stack, site } = this.#host
    for (let l = stack.pollAccept(); l !== null; l = stack.pollAccept()) {
      ;(l.context as PermanentProxy).handleReady(0)
    }
    for (let c = stack.pollReady(); c !== null; c = stack.pollReady()) {
      if (c.error === 'ERR_INPUT_LOST') {
        site.observer.handleInputLost(this.#host, clientPort(c))
      }
      const events = c.events
      c.events = 0
      ;(c.context as Sink | null)?.handleReady(events)
    }
    for (const proxy of this.proxies) proxy.handleTimeout(now)
  }
}

function clientPort(c: Connection): number {
  return (c.opener ? (c.partner as Connection | null) : c)?.remotePort ?? 0
}
