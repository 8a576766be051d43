/**
 * The command line of `understudy replay`.
 */
import { closeSync, openSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { StackError } from '../../stack/base/errors.js'
import { UsageError } from '../lab/usage-error.js'
import { type ReplayOptions, replay } from './replay.js'
import { replayJson, replayText } from './report.js'
import { segmentLine } from './segment-line.js'

export const HELP = `Usage: understudy replay [options] FILE...

Reads captures (pcap or pcapng, also compressed by gzip) as a peer would hear them, with no address of its own, and tells
of each connection: its options, its state, what was sent again, what is missing, and whether a peer that had heard just
this could have taken it over (shadow: ready, gap or untracked).

  --json           print one JSON object per file: connections in the order of first packets, per direction bytes, SHA-256
                   of the octets that came in order, and options
  --no-checksum    take segments with a wrong checksum, as hosts write them that leave checksums to the device
  --segments       print each segment, in the manner of tcpdump, before the report
  --stream N       write what connection N's client sent; with --out FILE to a file, else to standard output
  --from-server    with --stream: what the server sent
  --out FILE       where --stream writes

  understudy replay trace.pcap
  understudy replay --json --no-checksum trace.pcapng.gz
  understudy replay --stream 3 --from-server --out body.bin trace.pcap

Exit codes: 0 done, 1 a file could not be read (one line on stderr with a code and what to do), 2 wrong usage.`

interface Settings {
  readonly json: boolean
  readonly trustChecksums: boolean
  readonly segments: boolean
  readonly stream: number | null
  readonly fromServer: boolean
  readonly out: string | null
  readonly files: readonly string[]
}

/** Runs `understudy replay ARGS` and resolves with the exit code. Throws UsageError or StackError. */
export async function replayCommand(args: readonly string[]): Promise<number> {
  const settings = parse(args)
  if (settings === null) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  for (const file of settings.files) await replayOne(file, settings)
  return 0
}

async function replayOne(path: string, settings: Settings): Promise<void> {
  const { json, stream, fromServer, segments } = settings
  const fd = stream === null ? null : openOutput(settings.out)
  let origin = Number.NaN
  const options: ReplayOptions = {
    trustChecksums: settings.trustChecksums,
    onProgress: progress(path),
    ...(stream === null
      ? {}
      : { stream: { number: stream, c2s: fromServer ? null : fd, s2c: fromServer ? fd : null } }),
    ...(segments
      ? {
          onSegment: (connection, seg, fromClient) => {
            if (Number.isNaN(origin)) origin = connection.lastAt
            process.stdout.write(`${segmentLine(connection, seg, fromClient, origin)}\n`)
          },
        }
      : {}),
  }
  const result = await replay(path, options)
  if (fd !== null && fd !== 1) closeSync(fd)
  const count = result.connections.length
  if (stream !== null && count < stream) {
    throw new StackError(
      'ERR_NO_SUCH_STREAM',
      `'${path}' has ${count} connection${count === 1 ? '' : 's'}; there is no ${stream}`,
    )
  }
  // The stream itself is the output.
  if (fd === 1) return
  const text = json ? JSON.stringify(replayJson(result)) : replayText(path, result)
  process.stdout.write(`${text}\n`)
}

function openOutput(out: string | null): number {
  if (out === null) return 1
  try {
    return openSync(out, 'w')
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code
    throw new StackError('ERR_OUTPUT_FILE', `--out: cannot write '${out}': ${reason}`)
  }
}

// A line that is written over, on a terminal only, and only for what takes its time.
function progress(path: string): (share: number) => void {
  if (!process.stderr.isTTY) return () => undefined
  const begun = Date.now()
  let shown = 0
  return (share) => {
    const now = Date.now()
    if (share < 1 && (now - begun < 1000 || now - shown < 100)) return
    if (shown === 0 && share >= 1) return
    shown = now
    process.stderr.write(share < 1 ? `\r${path}: ${Math.floor(share * 100)} % ` : '\r\x1b[K')
  }
}

function parse(args: readonly string[]): Settings | null {
  const { values, positionals } = parseOrExplain(args)
  if (values.help === true) return null
  if (positionals.length === 0) {
    throw new UsageError('replay: name a capture file: see `understudy replay --help`')
  }
  const stream = values.stream === undefined ? null : Number(values.stream)
  if (stream !== null && (!Number.isInteger(stream) || stream < 1)) {
    throw new UsageError(
      `--stream: '${values.stream}' is no number of a connection; they count from 1`,
    )
  }
  const out = values.out ?? null
  const fromServer = values['from-server'] === true
  if (stream === null && (out !== null || fromServer)) {
    throw new UsageError('--out and --from-server go with --stream N')
  }
  if (stream !== null && positionals.length > 1) {
    throw new UsageError('--stream goes with one file')
  }
  return {
    json: values.json === true,
    trustChecksums: values['no-checksum'] === true,
    segments: values.segments === true,
    stream,
    fromServer,
    out,
    files: positionals,
  }
}

function parseOrExplain(args: readonly string[]): ReturnType<typeof parseOptions> {
  try {
    return parseOptions(args)
  } catch (error) {
    throw new UsageError(`replay: ${(error as Error).message}`)
  }
}

function parseOptions(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: 'boolean' },
      'no-checksum': { type: 'boolean' },
      segments: { type: 'boolean' },
      stream: { type: 'string' },
      'from-server': { type: 'boolean' },
      out: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
}
