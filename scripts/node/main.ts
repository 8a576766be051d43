/**
 * The program `understudy node --config FILE`: one node with its application. It prints what happens as JSON lines on standard
 * output, and leaves in good order on SIGTERM and SIGINT.
 */
import { parseArgs } from 'node:util'
import { startApp } from '../../apps/index.js'
import { type NodeReport, openNode, readNodeConfig } from '../../cluster/io/index.js'
import { StackError } from '../../stack/index.js'

const HELP = `Usage: understudy node --config FILE

Runs one node of a cluster: it attaches to a TAP device, listens to its peers, and owns the virtual address when it is
its turn. Events are printed as JSON lines. SIGTERM makes it leave in good order.

Exit codes: 0 left in good order, 1 failed (one line on stderr with a code and what to do), 2 wrong usage.`

function say(
  event: NodeReport | { readonly event: string; readonly [field: string]: unknown },
): void {
  process.stdout.write(`${JSON.stringify({ ...event, at: Date.now() })}\n`)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help === true || values.config === undefined) {
    process[values.help === true ? 'stdout' : 'stderr'].write(`${HELP}\n`)
    process.exitCode = values.help === true ? 0 : 2
    return
  }
  const config = readNodeConfig(values.config)
  const runtime = await openNode(config)
  runtime.on('report', say)
  if (config.app !== null)
    startApp(config.app, runtime.net, (error) =>
      say({ event: 'app-error', message: error.message }),
    )
  say({ event: 'ready', id: config.id, pid: process.pid })
  const leave = (): void => {
    runtime.close().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }
  process.once('SIGTERM', leave)
  process.once('SIGINT', leave)
}

main().catch((error: unknown) => {
  const { message, code } = error as StackError
  say({ event: 'error', code: code ?? null, message })
  process.stderr.write(
    error instanceof StackError || code !== undefined
      ? `understudy node: ${message} (${code})\n`
      : `${(error as Error).stack ?? message}\n`,
  )
  process.exit(1)
})
