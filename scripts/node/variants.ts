/**
 * `understudy node`, `record` and `proxy` run the same program; the latter two change one thing of its configuration.
 */
import { resolve } from 'node:path'
import { bindingCovers, type NodeConfig, parseIpAddress } from '../../cluster/io/index.js'
import { UsageError } from '../lab/usage-error.js'
import { NODE_HELP, PROXY_HELP, RECORD_HELP } from './help.js'

/** What the command line says beyond the configuration. */
export interface VariantOptions {
  readonly out?: string | undefined
  readonly listen?: string | undefined
  readonly to?: string | undefined
}

export type Variant = 'node' | 'record' | 'proxy'

export const VARIANT_HELP: Readonly<Record<Variant, string>> = {
  node: NODE_HELP,
  record: RECORD_HELP,
  proxy: PROXY_HELP,
}

/** The name under which the program was called; `understudy` itself leaves it in the environment. */
export function variantOf(env: NodeJS.ProcessEnv): Variant {
  const { UNDERSTUDY_COMMAND: name } = env
  return name === 'record' || name === 'proxy' ? name : 'node'
}

/** `config` as `variant` runs it. Throws UsageError for options that are missing, wrong or not of this variant. */
export function varied(variant: Variant, config: NodeConfig, options: VariantOptions): NodeConfig {
  const { out, listen, to } = options
  if (variant === 'record' && out !== undefined) return { ...config, record: resolve(out) }
  if (variant === 'proxy' && listen !== undefined && to !== undefined)
    return asProxy(config, listen, to)
  const missing = {
    node: null,
    record: '--out FILE',
    proxy: '--listen ADDRESS:PORT and --to HOST:PORT',
  }
  if (missing[variant] !== null) throw new UsageError(`${variant}: needs ${missing[variant]}`)
  if (out ?? listen ?? to)
    throw new UsageError('node: has no such option (see understudy node --help)')
  return config
}

function asProxy(config: NodeConfig, listen: string, to: string): NodeConfig {
  const [, bracketed, plain, digits] = /^(?:\[(.*)\]|([^:]*)):(\d+)$/.exec(listen) ?? []
  const port = Number(digits)
  const host = bracketed ?? plain
  if (host === undefined || port < 1 || port > 65_535) {
    throw new UsageError(
      `proxy: --listen '${listen}' is no address with a port; write 10.77.0.100:5432`,
    )
  }
  const address = parseIpAddress(host, '--listen')
  if (!config.bindings.some((binding) => bindingCovers(binding, address, port))) {
    throw new UsageError(
      `proxy: --listen '${listen}' is in no binding of the configuration; name one of its addresses and ports`,
    )
  }
  const limits = config.app?.name === 'proxy' ? config.app : {}
  return { ...config, app: { ...limits, name: 'proxy', port, to } }
}
