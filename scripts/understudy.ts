/**
 * The command `understudy`: hands over to a subcommand and turns what it throws into one line and an exit code. Each
 * subcommand is loaded only when it is asked for.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage.
 */
import { StackError } from '../stack/base/errors.js'
import { UsageError } from './lab/usage-error.js'

const HELP = `Usage: understudy COMMAND [options]

  lab         build nodes, a bridge and a client to put any program on
  demo        a download and an upload by curl that outlive their servers
  node        run one node
  status      what a node says of itself
  switchover  make a node hand over what it owns, with all connections
  drain       make a node hand over, and leave
  proxy       run one node that leads clients to any server
  explain     why and how a node took over, in prose
  record      run one node, and write what its link carries to a file
  replay      what a pcap or pcapng trace says of each connection
  bench       the stack beside the kernel's
  adapter     a stack under a clock of its own, for players of packet scripts
  completion  a script by which a shell completes all this

Each has --help with examples. Exit codes: 0 done, 1 failed (one line on stderr with a code and what to do), 2 wrong usage.`

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
    case 'record':
    case 'proxy':
      process.env.UNDERSTUDY_COMMAND = command
      return runProgram('./node/main.js', rest)
    case 'bench':
      return runProgram('./bench/main.js', rest)
    case 'switchover': {
      const { switchoverCommand } = await import('./node/switchover.js')
      return switchoverCommand(rest)
    }
    case 'drain': {
      const { drainCommand } = await import('./node/switchover.js')
      return drainCommand(rest)
    }
    case 'explain': {
      const { explainCommand } = await import('./node/explain-cli.js')
      return explainCommand(rest)
    }
    case 'completion': {
      const { completionCommand } = await import('./completion.js')
      return completionCommand(rest, HELP, await helps())
    }
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

/** A program that reads its own arguments and ends by itself. */
async function runProgram(module: string, args: readonly string[]): Promise<undefined> {
  process.argv.splice(2, process.argv.length - 2, ...args)
  await import(new URL(module, import.meta.url).href)
}

async function helps(): Promise<Record<string, string>> {
  const { NODE_HELP, PROXY_HELP, RECORD_HELP } = await import('./node/help.js')
  const { DRAIN_HELP, HELP: SWITCHOVER_HELP } = await import('./node/switchover.js')
  return {
    node: NODE_HELP,
    record: RECORD_HELP,
    proxy: PROXY_HELP,
    drain: DRAIN_HELP,
    demo: (await import('./demo/cli.js')).HELP,
    status: (await import('./node/status.js')).HELP,
    switchover: SWITCHOVER_HELP,
    explain: (await import('./node/explain-cli.js')).HELP,
    replay: (await import('./replay/cli.js')).HELP,
    adapter: (await import('./adapter/main.js')).HELP,
    bench: (await import('./bench/help.js')).HELP,
    completion: 'bash',
  }
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
