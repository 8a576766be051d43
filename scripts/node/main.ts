/**
 * The program `understudy node --config FILE`: one node with its application. It prints what happens as JSON lines on standard
 * output, and leaves in good order on SIGTERM and SIGINT. On SIGUSR2 it hands over what it owns (P24).
 */
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startApp } from '../../apps/index.js'
import { rehearseApp } from '../../apps/rehearsal.js'
import {
  type AppConfig,
  NODE_CONFIG_SCHEMA,
  type NodeConfig,
  type NodeReport,
  type NodeRuntime,
  openNode,
  readNodeConfig,
  say,
  serveAsProgram,
} from '../../cluster/io/index.js'
import { StackError } from '../../stack/index.js'
import { UsageError } from '../lab/usage-error.js'
import { blame } from './blame.js'
import { VARIANT_HELP, variantOf, varied } from './variants.js'

const SETTLE_MS = 500

const VARIANT = variantOf(process.env)

function parse() {
  const options = {
    config: { type: 'string' },
    check: { type: 'boolean' },
    schema: { type: 'boolean' },
    out: { type: 'string' },
    listen: { type: 'string' },
    to: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  } as const
  try {
    return parseArgs({ options }).values
  } catch (error) {
    process.stderr.write(`understudy ${VARIANT}: ${(error as Error).message}\n`)
    return {}
  }
}

// Errors of what the file says name its line.
async function start(file: string, config: NodeConfig): Promise<NodeRuntime> {
  try {
    const runtime = await openNode(config)
    runtime.on('report', say)
    if (config.app !== null) {
      const onError = (error: Error) => say({ event: 'app-error', message: error.message })
      await startApp(config.app, runtime, onError)
      rehearse(config.app, config.storeDir, runtime)
    }
    return runtime
  } catch (error) {
    throw blame(error, file, config)
  }
}

// A standby that has been told of all connections has nothing else to do; nor has an owner that has become one, which knew them.
function rehearse(app: AppConfig, folder: string, runtime: NodeRuntime): void {
  let owned = false
  const onReport = async ({ event }: NodeReport): Promise<void> => {
    if (event === 'owner') owned = true
    if (event !== 'joined' && !(owned && event === 'standby')) return
    runtime.off('report', onReport)
    // Those who have come after it are busy at first, and may be on the same machine.
    if (event === 'standby') await delay(SETTLE_MS, undefined, { ref: false })
    try {
      const start = (own: AppConfig, node: NodeRuntime) => startApp(own, node, () => {})
      const connections = await rehearseApp(app, folder, start)
      say({ event: 'rehearsed', app: app.name, connections })
    } catch (error) {
      // The node can do all that it could before: only its first take-over will be slower.
      say({ event: 'rehearsal-failed', app: app.name, message: (error as Error).message })
    }
  }
  runtime.on('report', onReport)
}

async function main(): Promise<void> {
  const { config: file, check, schema, help, ...others } = parse()
  if (schema === true) {
    process.stdout.write(`${JSON.stringify(NODE_CONFIG_SCHEMA, null, 2)}\n`)
    return
  }
  if (help === true || file === undefined) {
    process[help === true ? 'stdout' : 'stderr'].write(`${VARIANT_HELP[VARIANT]}\n`)
    process.exitCode = help === true ? 0 : 2
    return
  }
  const config = varied(VARIANT, readNodeConfig(file), others)
  if (check === true) {
    process.stdout.write(`${file}: right\n`)
    return
  }
  const runtime = await start(file, config)
  serveAsProgram(runtime, config.id, fail)
}

/** Says what went wrong, once as an event and once for people, and ends: a peer takes over. */
function fail(error: unknown): void {
  if (error instanceof UsageError) {
    process.stderr.write(`understudy ${error.message}\n`)
    process.exit(2)
  }
  const { message, code, stack } = error as StackError
  say({ event: 'error', code: code ?? null, message })
  const known = error instanceof StackError || code !== undefined
  process.stderr.write(
    known ? `understudy ${VARIANT}: ${message} (${code})\n` : `${stack ?? message}\n`,
  )
  process.exit(1)
}

process.on('uncaughtException', fail)
main().catch(fail)
