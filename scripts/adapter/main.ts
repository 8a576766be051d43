/**
 * `understudy adapter`: a program that plays scripts of packets and socket calls drives a fresh stack through stdin and
 * stdout, one JSON object per line, each request answered before the next is read. Nothing here knows the real time.
 */
import { createInterface } from 'node:readline'
import { StackError } from '../../stack/index.js'
import { UsageError } from '../lab/usage-error.js'
import { Calls, type Request } from './calls.js'

export const HELP = `Usage: understudy adapter

A stack with one interface, on a link in memory and a clock that stands still, driven by JSON lines on stdin:

  {"op":"init","local":"192.168.0.1","remote":"192.0.2.1","mtu":1500,"seed":1}
  {"op":"inject","pkt":"45…"}     an IPv4 packet arrives
  {"op":"advance","us":1000}      so many microseconds pass
  {"op":"call","fn":"read","args":[4,1000]}
                                  socket bind listen accept connect read write shutdown close error setsockopt;
                                  none of them blocks
  {"op":"state"}                  the states of all connections
  {"op":"quit"}

Each answer is one line with the time and the packets that left: {"now":0,"out":[[0,"45…"]],"ret":0}.
What is not offered is answered {"unsupported":"why"}, a request that makes no sense {"fatal":"why"}.`

/** Serves requests until `quit` or the end of stdin; resolves with the exit code. Throws UsageError. */
export async function adapterCommand(args: readonly string[]): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  if (args.length > 0) throw new UsageError(`adapter takes no arguments, not ${args[0]}.`)
  const calls = new Calls()
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() === '') continue
    const answer = answerLine(calls, line)
    if (answer === null) break
    if (!process.stdout.write(`${JSON.stringify(answer)}\n`)) {
      await new Promise((resolve) => process.stdout.once('drain', resolve))
    }
  }
  return 0
}

function answerLine(calls: Calls, line: string): object | null {
  try {
    const request = JSON.parse(line) as Request | null
    if (typeof request !== 'object' || request === null) throw new SyntaxError('no JSON object')
    return request.op === 'quit' ? null : calls.answer(request)
  } catch (error) {
    // A broken request is the player's fault and is said so; a broken stack ends the program with its trace.
    if (!(error instanceof StackError) && !(error instanceof SyntaxError)) throw error
    return { fatal: error.message }
  }
}
