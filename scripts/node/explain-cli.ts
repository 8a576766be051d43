/**
 * The command line of `understudy explain`.
 */
import { readFileSync } from 'node:fs'
import { fetchView } from '../../cluster/io/index.js'
import { StackError } from '../../stack/base/errors.js'
import { UsageError } from '../lab/usage-error.js'
import { addressOf, parseAsking } from './asking.js'
import { explainTakeovers, readStory, type Told } from './explain.js'

export const HELP = `Usage: understudy explain --config FILE | --at HOST:PORT | --at SOCKET | LOG  [--json]

Tells each take-over by a node in prose: why, in which steps, what became of the connections, and what the node saw before.
From what a running node remembers, or from LOG, the JSON lines that a node has printed ("-" is the standard input).

  --config FILE   the configuration that the node was started with
  --at WHERE      its address: host and port, or the path of a Unix socket
  --json          print the events instead, one line of JSON

  understudy explain --at 127.0.0.1:9477
  journalctl -u understudy@1 -o cat | understudy explain -

Exit codes: 0 done, 1 no answer or no such file (one line on stderr with a code and what to do), 2 wrong usage.`

interface Source {
  readonly node: number
  readonly story: readonly Told[]
}

/** Runs `understudy explain ARGS` and resolves with the exit code. Throws UsageError or StackError. */
export async function explainCommand(args: readonly string[]): Promise<number> {
  const values = parseAsking('explain', args, true)
  if (values.help === true) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const sources = await sourcesOf(values.config, values.at, values.others)
  if (values.json === true) {
    process.stdout.write(`${JSON.stringify(sources)}\n`)
    return 0
  }
  const paragraphs = sources.flatMap(({ story, node }) => explainTakeovers(story, node))
  process.stdout.write(`${paragraphs.join('\n\n') || 'There was no take-over.'}\n`)
  return 0
}

async function sourcesOf(
  config: string | undefined,
  at: string | undefined,
  logs: readonly string[],
): Promise<Source[]> {
  if (logs.length === 0) {
    const { nodes } = await fetchView(addressOf('explain', config, at))
    return nodes.map(({ id, decisions }) => ({ node: id, story: decisions }))
  }
  if (config !== undefined || at !== undefined || logs.length > 1) {
    throw new UsageError('explain: one log, or --config FILE, or --at WHERE')
  }
  return [readStory(readLog(logs[0] as string))]
}

function readLog(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new StackError(
      'ERR_LOG_FILE',
      `cannot read '${path}': ${code}; name the file with what a node printed`,
    )
  }
}
