/**
 * The proxy as the application of a node: from its configuration to a {@link PermanentProxy} that listens, and its clock.
 */
import { lookup } from 'node:dns/promises'
import type { AppConfig, NodeRuntime } from '../../cluster/io/index.js'
import {
  formatIpAddress,
  type IpAddress,
  type Ipv4Address,
  inPrefix,
  parseIpAddress,
  StackError,
  UNSPECIFIED,
} from '../../stack/index.js'
import { DEFAULT_PROXY_OPTIONS, PermanentProxy, type ProxyReport } from './proxy.js'

const TICK_MS = 250

/** Starts the proxy on a node. Throws ERR_CONFIG, ERR_PROXY_TARGET, ERR_PROXY_BINDING or EADDRINUSE. */
export async function startProxy(
  app: AppConfig,
  runtime: NodeRuntime,
  report: (report: ProxyReport) => void,
): Promise<PermanentProxy> {
  const { port, maxConnections, connectMs, idleMs, proxyProtocol } = app
  const { toAddress, toPort } = await resolveTarget(app.to, runtime)
  for (const { address } of runtime.config.bindings) {
    runtime.node.addProxy(address, port, {
      address: toAddress,
      port: toPort,
      ...(proxyProtocol !== undefined && { header: proxyProtocol }),
    })
  }
  const options = {
    ...DEFAULT_PROXY_OPTIONS,
    address: UNSPECIFIED,
    port,
    toAddress,
    toPort,
    ...(maxConnections !== undefined && { maxConnections }),
    ...(connectMs !== undefined && { connectMs }),
    ...(idleMs !== undefined && { idleMs }),
    ...(proxyProtocol !== undefined && { header: proxyProtocol }),
  }
  const proxy = new PermanentProxy(runtime.host, options, report)
  const timer = setInterval(() => {
    if (proxy.nextDeadline() > runtime.now()) return
    proxy.handleTimeout(runtime.now())
    runtime.host.kick()
  }, TICK_MS).unref()
  runtime.once('close', () => clearInterval(timer))
  return proxy
}

async function resolveTarget(
  to: string | undefined,
  runtime: NodeRuntime,
): Promise<{ toAddress: IpAddress; toPort: number }> {
  const { host, port } = parseTarget(to)
  let found: string
  try {
    found = (await lookup(host, { family: 4 })).address
  } catch (error) {
    throw new StackError(
      'ERR_PROXY_TARGET',
      `app.to: there is no address for ${host} (${(error as Error).message}): write it as 10.77.0.50:${port}`,
    )
  }
  const toAddress = parseIpAddress(found, 'app.to')
  const { routers } = runtime.config
  for (const { address, prefix } of runtime.config.bindings) {
    const own = address === toAddress
    const near = inPrefix(toAddress as Ipv4Address, address as Ipv4Address, prefix)
    if (!own && (near || routers.length > 0)) continue
    const shown = `${formatIpAddress(address)}/${prefix}`
    throw new StackError(
      'ERR_PROXY_TARGET',
      own
        ? `app.to: ${found} is the virtual address itself: name the machine that serves`
        : `app.to: ${found} is not on the network of ${shown}, and "routers" names none that leads there: add one, or give the server an address there`,
    )
  }
  return { toAddress, toPort: port }
}

/** Reads `HOST:PORT`. Throws ERR_CONFIG. */
export function parseTarget(to: string | undefined): { host: string; port: number } {
  const [, host, port] = /^([^:\s]+):(\d{1,5})$/.exec(to ?? '') ?? []
  if (host !== undefined && Number(port) >= 1 && Number(port) <= 65_535) {
    return { host, port: Number(port) }
  }
  throw new StackError(
    'ERR_CONFIG',
    `app.to: the proxy leads to HOST:PORT, as 10.77.0.50:5432, not ${to === undefined ? 'nothing' : `'${to}'`}`,
  )
}
