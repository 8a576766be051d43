/**
 * What the commands share that ask a running node: the options that say which one, and where it answers.
 */
import { parseArgs } from 'node:util'
import { type OperatorAddress, readNodeConfig } from '../../cluster/io/index.js'
import { StackError } from '../../stack/base/errors.js'
import { UsageError } from '../lab/usage-error.js'

/** The options of every such command. */
export interface Asking {
  readonly config?: string | undefined
  readonly at?: string | undefined
  readonly json?: boolean | undefined
  readonly help?: boolean | undefined
  /** What is no option; only where `others` are allowed. */
  readonly others: readonly string[]
}

/** Reads the arguments of `command`. Throws UsageError. */
export function parseAsking(command: string, args: readonly string[], others = false): Asking {
  const options = {
    config: { type: 'string' },
    at: { type: 'string' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  } as const
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options,
      allowPositionals: others,
    })
    return { ...values, others: positionals }
  } catch (error) {
    throw new UsageError(
      `${command}: ${(error as Error).message} (see understudy ${command} --help)`,
    )
  }
}

/** Where a node answers, by its configuration or as given. Throws UsageError for `command`, and ERR_CONFIG. */
export function addressOf(
  command: string,
  config: string | undefined,
  at: string | undefined,
): OperatorAddress {
  if ((config === undefined) === (at === undefined)) {
    throw new UsageError(`${command}: say which node, by --config FILE or --at WHERE`)
  }
  if (at !== undefined) {
    const [, host, port] = /^(.*):(\d+)$/.exec(at) ?? []
    return host === undefined ? { socket: at } : { host, port: Number(port) }
  }
  const { operator } = readNodeConfig(config ?? '')
  if (operator === null) {
    throw new StackError(
      'ERR_CONFIG',
      `${config}: operator: is missing, so the node serves no status; write "operator": { "port": 9477 } and start it again`,
    )
  }
  return operator
}
