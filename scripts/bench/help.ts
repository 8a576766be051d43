/** What `understudy bench --help` prints. */
import { MEASURES } from './measures.js'

export const HELP = `Usage: npm run bench [-- OPTIONS] [NAME...]

Measures the stack on a TAP, with the device's offload and without, beside the kernel's TCP over the same bridge.
NAME: ${MEASURES.flatMap((measure) => measure.names).join(', ')}; or the first
word of some, as proxy; all of them when there is none.

  --quick    fewer and shorter rounds; those of 100,000 connections, of the proxy, of strict mode and of take-overs, 20
             of each kind in place of 100, only by name, as proxy or takeover
  --runs N   rounds of each measure, take-overs of each kind (default 5, and 100)
  --svg FILE writes a chart of the ratios to FILE
  --json     one line of JSON on standard output; the table goes to standard error

Exit codes: 0 done, 1 failed, 2 wrong usage.`
