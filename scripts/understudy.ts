/**
 * The command `understudy`: hands over to a subcommand and turns what it throws into one line and an exit code. Each
 * subcommand is loaded only when it is asked for.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage.
 */
import { StackError } from '../stack/base/errors.js'
import { UsageError } from './lab/usage-error.js'

const HELP = `Usage: understudy COMMAND [options]

  lab      build nodes, a bridge and a client to put any program on: understudy lab --help
  demo     a download and an upload by curl that outlive their servers: understudy demo --help
  node     run one node: understudy node --config FILE
  status   what a node says of itself: understudy status --help
  replay   what a pcap or pcapng trace says of each connection: understudy replay --help
  adapter  a stack under a clock of its own, for players of packet scripts: understudy adapter --help

Exit codes: 0 done, 1 failed (one line on stderr with a code and what to do), 2 wrong usage.`

async function run(args: readonly string[]): Promise<number | undefined> {
  const [command, ...rest] = args
  switch (command) {
    case 'lab': {
      const { labCommand } = await import('./lab/cli.js')
      return labCommand(rest)
    }
    case 'demo': {
      const { demoCommand } = await import('./demo/cli.js')
      return demoCommand(rest)
    }
    case 'node':
      return runNode(rest)
    case 'status': {
      const { statusCommand } = await import('./node/status.js')
      return statusCommand(rest)
    }
    case 'replay': {
      const { replayCommand } = await import('./replay/cli.js')
      return replayCommand(rest)
    }
    case 'adapter': {
      const { adapterCommand } = await import('./adapter/main.js')
      return adapterCommand(rest)
    }
    case '--help':
    case '-h':
    case 'help':
      process.stdout.write(`${HELP}\n`)
      return 0
    default:
      process.stderr.write(`${HELP}\n`)
      return 2
  }
}

/** The node program reads its own arguments and ends by itself. */
async function runNode(args: readonly string[]): Promise<undefined> {
  process.argv.splice(2, process.argv.length - 2, ...args)
  await import(new URL('./node/main.js', import.meta.url).href)
}

try {
  const code = await run(process.argv.slice(2))
  // What an interrupted command still waits for must not hold the process.
  if (code !== undefined) process.exit(code)
} catch (error) {
  const usage = error instanceof UsageError
  if (!usage && !(error instanceof StackError)) throw error
  const code = error instanceof StackError ? ` (${error.code})` : ''
  process.stderr.write(`understudy: ${error.message}${code}\n`)
  process.exit(usage ? 2 : 1)
}
