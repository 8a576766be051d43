/**
 * A node as a program: its configuration comes by `--config FILE`, what happens is printed as JSON lines on standard output, SIGTERM
 * and SIGINT make it leave in good order, and SIGUSR2 makes it hand over what it owns (P24). So labs and supervisors drive it.
 */
import { StackError } from '../../stack/index.js'
import type { NodeReport } from '../node.js'
import type { NodeRuntime } from './runtime.js'

const unsaid: object[] = []
let attentive = false

/** Prints one event with its instant; in the loop's next turn, as clients may wait for what is done in this one. */
export function say(
  event: NodeReport | { readonly event: string; readonly [field: string]: unknown },
): void {
  unsaid.push({ ...event, at: Date.now() })
  if (!attentive) {
    attentive = true
    process.on('exit', printAll)
  }
  if (unsaid.length === 1) setImmediate(printAll)
}

function printAll(): void {
  const lines = unsaid.splice(0).map((event) => `${JSON.stringify(event)}\n`)
  if (lines.length > 0) process.stdout.write(lines.join(''))
}

/** The FILE of `--config FILE` or `--config=FILE` in `argv`, or of UNDERSTUDY_CONFIG. Throws ERR_CONFIG when there is none. */
export function configOfProgram(argv: readonly string[], env: NodeJS.ProcessEnv): string {
  const at = argv.indexOf('--config')
  const joined = argv.find((word) => word.startsWith('--config='))
  const file = at >= 0 ? argv[at + 1] : (joined?.slice('--config='.length) ?? env.UNDERSTUDY_CONFIG)
  if (file !== undefined && file !== '') return file
  throw new StackError(
    'ERR_CONFIG',
    'which configuration? Start this program with --config FILE, or give createNode() a file',
  )
}

/** Says that the node is ready, and obeys signals from now on. `fail` hears what goes wrong while it leaves. */
export function serveAsProgram(
  runtime: NodeRuntime,
  id: number,
  fail: (error: unknown) => void,
): void {
  say({ event: 'ready', id, pid: process.pid })
  const leave = (): void => {
    runtime.close().then(() => process.exit(0), fail)
  }
  process.on('SIGUSR2', () => {
    try {
      runtime.switchover()
    } catch (error) {
      const { code, message } = error as StackError
      say({ event: 'switchover-failed', code: code ?? null, message })
    }
  })
  process.once('SIGTERM', leave)
  process.once('SIGINT', leave)
}
