/**
 * Which field of a configuration an error at start is about: so that who wrote the file is led to the line.
 */
import { type NodeConfig, placeInConfig } from '../../cluster/io/index.js'
import { StackError } from '../../stack/index.js'

// Errors of parts that know no configuration, by the beginning of their code.
const FIELD_OF_CODE: readonly (readonly [string, string])[] = [
  ['ERR_KEY_', 'keyFile'],
  ['ERR_TAP', 'tap'],
  ['ERR_BRIDGE_', 'tap'],
  ['ERR_HUB_', 'tap'],
  ['ERR_HEARTBEAT_', 'control.host'],
]

/** `error` with file, line and field in front when it comes from what `file` says; else as it is. */
export function blame(error: unknown, file: string, config: NodeConfig): unknown {
  if (!(error instanceof StackError)) return error
  const [, named] = /^([a-zA-Z]+(?:\.[a-zA-Z]+)?): /.exec(error.message) ?? []
  const field = named ?? fieldOf(error, config)
  if (field === null) return error
  const what = named === undefined ? `${field}: ${error.message}` : error.message
  return new StackError(error.code, `${placeInConfig(file, field)}: ${what}`, { cause: error })
}

function fieldOf(error: StackError, config: NodeConfig): string | null {
  if (error.code.startsWith('ERR_STORE_')) {
    return error.message.includes(config.sharedDir) ? 'sharedDir' : 'storeDir'
  }
  return FIELD_OF_CODE.find(([code]) => error.code.startsWith(code))?.[1] ?? null
}
